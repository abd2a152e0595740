// The rules that turn bytes into elements and times into bandwidths.
#include "bench/perf/case.h"

#include <gtest/gtest.h>

namespace perf {
namespace {

using tutti::DataType;

Case case_of(Collective collective, size_t bytes, int nranks) {
  Case c;
  c.collective = collective;
  c.count = count_for(collective, c.dtype, bytes, nranks);
  return c;
}

TEST(CaseTest, BytesAreRoundedDownToWholeElementsPerRank) {
  EXPECT_EQ(count_for(Collective::kAllReduce, DataType::kFloat32, 1003, 3), 250u);
  EXPECT_EQ(count_for(Collective::kAllReduce, DataType::kFloat64, 1003, 3), 125u);
  EXPECT_EQ(count_for(Collective::kBroadcast, DataType::kInt8, 1003, 3), 1003u);
  for (const Collective blocks :
       {Collective::kAllGather, Collective::kReduceScatter, Collective::kGather,
        Collective::kScatter, Collective::kAllToAll}) {
    const Case c = case_of(blocks, 1003, 3);
    EXPECT_EQ(c.count, 83u) << name_of(blocks);
    EXPECT_EQ(bytes_of(c, 3), 83u * 3 * 4) << name_of(blocks);
  }
  const Case uneven = case_of(Collective::kAllToAllV, 1003, 3);
  EXPECT_EQ(uneven.count, 250u);
  EXPECT_EQ(bytes_of(uneven, 3), 1000u);
  EXPECT_EQ(bytes_of(case_of(Collective::kSendRecv, 1003, 3), 3), 1000u);
  EXPECT_EQ(bytes_of(case_of(Collective::kBarrier, 1003, 3), 3), 0u);
}

TEST(CaseTest, BusFactorsAreThoseOfNcclTests) {
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kAllReduce, 2), 1.0);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kAllReduce, 4), 1.5);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kAllGather, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kReduceScatter, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kGather, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kScatter, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kAllToAll, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kAllToAllV, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kBroadcast, 4), 1.0);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kReduce, 4), 1.0);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kSendRecv, 4), 1.0);
}

TEST(CaseTest, UnevenBlocksAddUpOnBothSides) {
  for (const int n : {1, 2, 3, 7}) {
    for (const size_t total : {size_t{0}, size_t{1}, size_t{5}, size_t{1000}}) {
      for (int self = 0; self < n; ++self) {
        size_t sent = 0;
        size_t received = 0;
        for (int peer = 0; peer < n; ++peer) {
          sent += uneven_count(total, self, peer, n);
          received += uneven_count(total, peer, self, n);
        }
        EXPECT_EQ(sent, total);
        EXPECT_EQ(received, total);
      }
    }
  }
  EXPECT_EQ(uneven_count(1000, 0, 0, 2), 250u);
  EXPECT_EQ(uneven_count(1000, 0, 1, 2), 750u);
  // No overflow on the way: a total near the end of 64 bits.
  EXPECT_EQ(uneven_count(SIZE_MAX, 0, 0, 2) + uneven_count(SIZE_MAX, 0, 1, 2), SIZE_MAX);
}

TEST(CaseTest, TextAndBack) {
  Case c;
  c.collective = Collective::kScatter;
  c.dtype = DataType::kBfloat16;
  c.op = tutti::ReduceOp::kAvg;
  c.count = 123456789012;
  c.root = 3;
  c.in_place = true;
  const auto back = decode(encode(c));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(encode(back.value()), encode(c));
  EXPECT_EQ(back.value().count, c.count);
  EXPECT_TRUE(back.value().in_place);
  EXPECT_FALSE(decode("99 0 0 1 0 0 0").ok());
  EXPECT_FALSE(decode("1 2").ok());
}

}  // namespace
}  // namespace perf
