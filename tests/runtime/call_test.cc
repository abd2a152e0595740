// What ranks compare of a call, and the words for it.
#include "comm/runtime/call.h"

#include <gtest/gtest.h>
#include <memory>
#include <set>
#include <vector>

namespace tutti {
namespace {

CollectiveCall reduce_of_thousand() {
  CollectiveCall c;
  c.collective = Collective::kAllReduce;
  c.dtype = DataType::kFloat32;
  c.op = ReduceOp::kSum;
  c.count = 1000;
  return c;
}

uint64_t index_of(Collective collective, const char* name) {
  return static_cast<uint64_t>(find_algorithm(collective, name) - catalog().data());
}

CallRecord numbered(uint64_t sequence, CallRecord record) {
  record.sequence = sequence;
  return record;
}

TEST(FingerprintTest, EveryFieldThatRanksShareCounts) {
  const CollectiveCall base = reduce_of_thousand();
  std::vector<uint64_t> prints = {fingerprint(base, 4, 1), fingerprint(base, 5, 1),
                                  fingerprint(base, 4, 2), fingerprint(base, 4, uint64_t{1} << 32)};
  const auto add = [&](auto change) {
    CollectiveCall c = reduce_of_thousand();
    change(c);
    prints.push_back(fingerprint(c, 4, 1));
  };
  add([](CollectiveCall& c) { c.collective = Collective::kReduce; });
  add([](CollectiveCall& c) { c.dtype = DataType::kInt32; });
  add([](CollectiveCall& c) { c.op = ReduceOp::kMax; });
  add([](CollectiveCall& c) { c.root = 1; });
  add([](CollectiveCall& c) { c.count = 1001; });
  add([](CollectiveCall& c) { c.count = 1000 + (uint64_t{1} << 32); });
  add([](CollectiveCall& c) { c.counts_hash = 1; });
  add([](CollectiveCall& c) { c.blocks = std::make_unique<CollectiveCall::Blocks>(); });
  EXPECT_EQ(std::set<uint64_t>(prints.begin(), prints.end()).size(), prints.size());
}

TEST(FingerprintTest, LocalFactsDoNotCount) {
  CollectiveCall other = reduce_of_thousand();
  int buffer = 0;
  other.in_place = true;
  other.send = &buffer;
  other.recv = &buffer;
  EXPECT_EQ(fingerprint(other, 4, 1), fingerprint(reduce_of_thousand(), 4, 1));
}

TEST(CallRecordTest, SaysWhatWasCalled) {
  CollectiveCall c = reduce_of_thousand();
  const CallRecord record =
      numbered(7, record_of(c, 99, index_of(Collective::kAllReduce, "two_shot")));
  EXPECT_EQ(record.sequence, 7u);
  EXPECT_EQ(record.fingerprint, 99u);
  EXPECT_EQ(record.count, 1000u);
  EXPECT_EQ(describe(record), "all_reduce of 1000 f32 (sum, two_shot), call 7");
  EXPECT_EQ(describe(c), "all_reduce of 1000 f32 (sum)");
}

TEST(CallRecordTest, RootsMovementsAndBarriers) {
  CollectiveCall c;
  c.collective = Collective::kBroadcast;
  c.dtype = DataType::kBfloat16;
  c.root = 3;
  c.count = 5;
  EXPECT_EQ(describe(record_of(c, 0, index_of(Collective::kBroadcast, "chain"))),
            "broadcast of 5 bf16 (chain) root 3, call 0");
  EXPECT_EQ(describe(c), "broadcast of 5 bf16");
  CollectiveCall barrier;
  EXPECT_EQ(describe(numbered(
                12, record_of(barrier, 0, index_of(Collective::kBarrier, "dissemination")))),
            "barrier, call 12");
  EXPECT_EQ(describe(barrier), "barrier");
}

TEST(CallRecordTest, BlocksThatDifferCountInAll) {
  CollectiveCall c;
  c.collective = Collective::kAllGather;
  c.dtype = DataType::kInt64;
  c.blocks = std::make_unique<CollectiveCall::Blocks>();
  c.blocks->input = {1, 20, {}, {}};
  c.blocks->output = {3, 0, {10, 20, 0}, {0, 10, 30}};
  const CallRecord record = numbered(1, record_of(c, 0, index_of(Collective::kAllGather, "ring")));
  EXPECT_EQ(record.count, 30u);
  EXPECT_EQ(describe(record), "all_gather_v of 30 i64 (ring), call 1");
}

TEST(PointToPointFingerprintTest, TellsTypesAndCountsApart) {
  std::set<uint64_t> prints;
  size_t made = 0;
  for (int d = 0; d < kNumDataTypes; ++d) {
    const auto dtype = static_cast<DataType>(d);
    for (const size_t count : {size_t{0}, size_t{1}, size_t{1000}, size_t{1} << 33}) {
      const uint64_t print = point_to_point_fingerprint(dtype, count);
      prints.insert(print);
      ++made;
      EXPECT_EQ(describe_point_to_point(print, count * size_of(dtype)),
                std::to_string(count) + ' ' + name_of(dtype));
    }
  }
  EXPECT_EQ(prints.size(), made);
  EXPECT_EQ(describe_point_to_point(12345, 40), "40 bytes");
}

}  // namespace
}  // namespace tutti
