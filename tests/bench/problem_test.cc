// What is filled in and what must come out: against a plain model of every collective, and with
// errors put in that must be counted.
#include "bench/perf/problem.h"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <vector>

#include "bench/perf/values.h"

namespace perf {
namespace {

using tutti::DataType;
using tutti::ReduceOp;

// The buffers of all ranks, filled for one call.
struct World {
  World(const Case& c, int n, int call_root, uint64_t call_salt)
      : nranks(n), root(call_root), salt(call_salt) {
    for (int r = 0; r < n; ++r) {
      problems.emplace_back(c, r, n);
      send.emplace_back(problems.back().send_bytes());
      recv.emplace_back(problems.back().recv_bytes());
      problems.back().fill(at(r), root, salt);
    }
  }
  Buffers at(int r) {
    const auto i = static_cast<size_t>(r);
    return problems[i].place(send[i].data(), recv[i].data(), root);
  }
  uint64_t wrong(int r) { return problems[static_cast<size_t>(r)].wrong(at(r).recv, root, salt); }
  int nranks;
  int root;
  uint64_t salt;
  std::vector<BlockProblem> problems;
  std::vector<std::vector<uint8_t>> send, recv;
};

TEST(ProblemTest, ForgottenResultsAreWrong) {
  Case c;
  c.count = 20000;
  World world(c, 3, 0, 1);
  EXPECT_EQ(world.wrong(0), 20000u);
}

TEST(ProblemTest, AllToAllTakesTheRightBlocks) {
  Case c;
  c.collective = Collective::kAllToAll;
  c.dtype = DataType::kInt64;
  c.count = 9000;  // longer than a period of the contents
  World world(c, 3, 0, 7);
  const size_t block = c.count * 8;
  for (size_t r = 0; r < 3; ++r) {
    for (size_t p = 0; p < 3; ++p) {
      std::memcpy(&world.recv[r][p * block], &world.send[p][r * block], block);
    }
    EXPECT_EQ(world.wrong(static_cast<int>(r)), 0u);
  }
  // One element wrong, then two blocks swapped.
  world.recv[1][block * 2 + 8] ^= 1;
  EXPECT_EQ(world.wrong(1), 1u);
  std::swap_ranges(world.recv[2].begin(), world.recv[2].begin() + static_cast<long>(block),
                   world.recv[2].begin() + static_cast<long>(block));
  EXPECT_EQ(world.wrong(2), 2 * c.count);
}

TEST(ProblemTest, AllToAllVMatchesItsBlocks) {
  Case c;
  c.collective = Collective::kAllToAllV;
  c.dtype = DataType::kUint16;
  c.count = 1001;
  World world(c, 4, 0, 3);
  for (int r = 0; r < 4; ++r) {
    const Blocks mine = received_blocks(c, r, 4);
    for (int p = 0; p < 4; ++p) {
      const Blocks theirs = sent_blocks(c, p, 4);
      const auto from = static_cast<size_t>(p);
      const auto self = static_cast<size_t>(r);
      ASSERT_EQ(mine.counts[from], theirs.counts[self]);
      std::memcpy(world.recv[self].data() + mine.displs[from] * 2,
                  world.send[from].data() + theirs.displs[self] * 2, mine.counts[from] * 2);
    }
    EXPECT_EQ(world.wrong(r), 0u);
  }
}

TEST(ProblemTest, OnlyTheRootHasAResult) {
  Case c;
  c.collective = Collective::kGather;
  c.count = 10;
  World world(c, 3, 2, 1);
  EXPECT_EQ(world.wrong(0), 0u);
  EXPECT_EQ(world.wrong(2), 30u);
}

TEST(ProblemTest, InPlaceInputsSurviveFilling) {
  Case c;
  c.collective = Collective::kAllGather;
  c.count = 100;
  c.in_place = true;
  World world(c, 3, 0, 1);
  for (size_t p = 0; p < 3; ++p) {
    std::memcpy(&world.recv[0][p * 400], world.at(static_cast<int>(p)).send, 400);
  }
  EXPECT_EQ(world.wrong(0), 0u);
}

// The expected values must not depend on the order of reduction: fold the inputs in two orders with
// one rounding per step and compare with what is expected.
class ExactTest : public testing::TestWithParam<int> {};

double number_at(DataType dtype, const uint8_t* element) {
  double value = 0;
  if (dtype == DataType::kFloat32) {
    float f;
    std::memcpy(&f, element, sizeof f);
    return f;
  }
  // Search: the types are small.
  uint8_t candidate[8] = {};
  for (int v = -600; v <= 600; ++v) {
    write_number(dtype, v, candidate);
    if (std::memcmp(candidate, element, tutti::size_of(dtype)) == 0) value = v;
  }
  return value;
}

TEST_P(ExactTest, SumsAreExactInEveryOrder) {
  const int nranks = GetParam();
  for (const DataType dtype : {DataType::kFloat8e4m3, DataType::kFloat8e5m2, DataType::kFloat16,
                               DataType::kBfloat16, DataType::kFloat32, DataType::kInt8}) {
    Case c;
    c.dtype = dtype;
    c.count = 1;
    for (uint64_t index = 0; index < 20; ++index) {
      uint8_t element[8] = {};
      uint8_t expected[8] = {};
      write_reduced(c, nranks, index, 5, expected);
      for (const int step : {1, nranks - 1}) {  // upwards and downwards through the ranks
        uint8_t sum[8] = {};
        write_number(dtype, 0, sum);
        int rank = 0;
        for (int i = 0; i < nranks; ++i, rank = (rank + step) % nranks) {
          write_input(c, rank, nranks, index, 5, element);
          write_number(dtype, number_at(dtype, sum) + number_at(dtype, element), sum);
        }
        EXPECT_EQ(std::memcmp(sum, expected, tutti::size_of(dtype)), 0)
            << tutti::name_of(dtype) << " index " << index << " step " << step;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, ExactTest, testing::Values(2, 3, 8, 20));

TEST(ValuesTest, SmallFloatsRoundToNearestEven) {
  const auto code = [](DataType dtype, double value) {
    uint16_t bits = 0;
    write_number(dtype, value, &bits);
    return bits;
  };
  EXPECT_EQ(code(DataType::kFloat16, 1.0), 0x3c00);
  EXPECT_EQ(code(DataType::kFloat16, -2.0), 0xc000);
  EXPECT_EQ(code(DataType::kFloat16, 2049.0), 0x6800);  // between 2048 and 2050
  EXPECT_EQ(code(DataType::kFloat16, 2051.0), 0x6802);  // between 2050 and 2052
  EXPECT_EQ(code(DataType::kBfloat16, 1.0), 0x3f80);
  EXPECT_EQ(code(DataType::kFloat8e4m3, 448.0), 0x7e);
  EXPECT_EQ(code(DataType::kFloat8e4m3, 17.0), 0x58);  // between 16 and 18
  EXPECT_EQ(code(DataType::kFloat8e5m2, 1.0), 0x3c);
  EXPECT_EQ(code(DataType::kFloat8e5m2, 1.0 / 65536), 0x01);  // the smallest subnormal
}

TEST(ValuesTest, AveragesOfIntegersTruncateTowardZero) {
  Case c;
  c.dtype = DataType::kInt32;
  c.op = ReduceOp::kAvg;
  bool saw_negative_remainder = false;
  for (uint64_t index = 0; index < 200; ++index) {
    int32_t sum = 0;
    for (int rank = 0; rank < 3; ++rank) {
      int32_t value = 0;
      write_input(c, rank, 3, index, 1, &value);
      sum += value;
    }
    int32_t expected = 0;
    write_reduced(c, 3, index, 1, &expected);
    EXPECT_EQ(expected, sum / 3);
    saw_negative_remainder |= sum % 3 < 0;
  }
  EXPECT_TRUE(saw_negative_remainder);
}

}  // namespace
}  // namespace perf
