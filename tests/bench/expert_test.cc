// Cases of dispatch and combine: where rows lie, what must be sent, and that wrong results are
// noticed.
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <set>

#include "bench/perf/expert_plan.h"
#include "bench/perf/expert_problem.h"

namespace perf {
namespace {

constexpr int kRanks = 3;

Case small_case(Collective collective, ExpertLayout layout) {
  Case c;
  c.collective = collective;
  c.dtype = tutti::DataType::kBfloat16;
  c.expert.tokens = 20;
  c.expert.hidden = 150;
  c.expert.topk = 4;
  c.expert.experts = 10;
  c.expert.layout = layout;
  c.count = 20 * 150;
  return c;
}

const ExpertLayout kLayouts[] = {ExpertLayout::kFlat, ExpertLayout::kExpertMajor,
                                 ExpertLayout::kExpertSlab, ExpertLayout::kRankMajor};

TEST(ExpertCaseTest, GoesThroughText) {
  Case c = small_case(Collective::kExpertCombine, ExpertLayout::kExpertSlab);
  c.expert.quant = ExpertQuant::kInt8Token;
  c.expert.routing = RoutingKind::kZipf;
  c.expert.zipf = 0.3;
  c.expert.backward = true;
  const auto back = decode(encode(c));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(encode(back.value()), encode(c));
  EXPECT_EQ(routing_name(back.value().expert), "zipf:0.3");
  EXPECT_FALSE(decode("11 9 0 1 0 0 0").ok());
}

TEST(ExpertPlanTest, TokensChooseDistinctExperts) {
  for (const RoutingKind kind : {RoutingKind::kUniform, RoutingKind::kZipf, RoutingKind::kOne}) {
    Case c = small_case(Collective::kExpertDispatch, ExpertLayout::kFlat);
    c.expert.routing = kind;
    const ExpertPlan plan(c, 0, kRanks);
    ASSERT_EQ(plan.ids().size(), 20u * 4 * kRanks);
    for (size_t t = 0; t < 20u * kRanks; ++t) {
      const std::set<int32_t> some(plan.ids().begin() + static_cast<long>(4 * t),
                                   plan.ids().begin() + static_cast<long>(4 * t + 4));
      EXPECT_EQ(some.size(), 4u);
      EXPECT_LE(*some.rbegin(), kind == RoutingKind::kOne ? 3 : 9);
    }
  }
}

TEST(ExpertPlanTest, EveryAssignmentHasItsRow) {
  for (const ExpertLayout layout : kLayouts) {
    std::set<std::tuple<int, int, int>> seen;
    for (int rank = 0; rank < kRanks; ++rank) {
      const ExpertPlan plan(small_case(Collective::kExpertDispatch, layout), rank, kRanks);
      std::set<size_t> at;
      for (const ExpertRow& row : plan.rows()) {
        EXPECT_TRUE(at.insert(row.at).second);
        EXPECT_LT(row.at, plan.room());
        const int what = is_by_expert(layout) ? row.k : rank;
        EXPECT_TRUE(seen.insert({row.source, row.token, what}).second);
      }
    }
    if (is_by_expert(layout)) {
      EXPECT_EQ(seen.size(), 20u * 4 * kRanks);
    }
  }
}

// Four experts of one rank: every token of the other two crosses once, or for each of its experts.
TEST(ExpertPlanTest, TheLeastBytes) {
  Case c = small_case(Collective::kExpertDispatch, ExpertLayout::kExpertMajor);
  c.expert.routing = RoutingKind::kOne;
  EXPECT_EQ(least_bytes(c, kRanks).total(), 40u * 300);
  c.expert.ranks_per_node = 2;
  EXPECT_EQ(least_bytes(c, kRanks).near, 20u * 300);
  EXPECT_EQ(least_bytes(c, kRanks).far, 20u * 300);
  c.collective = Collective::kExpertRoundTrip;
  c.expert.reduce = ExpertReduce::kSlot;
  EXPECT_EQ(least_bytes(c, kRanks).total(), 40u * 300 + 160u * 300);
  c.collective = Collective::kExpertDispatch;
  c.expert.quant = ExpertQuant::kFp8Block128;
  EXPECT_EQ(least_bytes(c, kRanks).total(), 40u * (150 + 2 * 4));
  EXPECT_EQ(least_bytes(c, 1).total(), 0u);
}

// All experts of tokens of rank 0 are on ranks 2 and 3, the other node: its row crosses to that
// once, and once there; its sums come back likewise.
TEST(ExpertPlanTest, TheLeastBytesBetweenNodes) {
  Case c = small_case(Collective::kExpertRoundTrip, ExpertLayout::kFlat);
  c.expert.topk = 10;
  c.expert.ranks_per_node = 2;
  c.expert.algo = ExpertAlgo::kDirect;
  constexpr uint64_t kRows = 4u * 20 * 300;  // of all tokens
  EXPECT_EQ(least_bytes(c, 4).near, 2 * kRows);
  EXPECT_EQ(least_bytes(c, 4).far, 2 * 2 * kRows);
  c.expert.algo = ExpertAlgo::kAuto;
  EXPECT_EQ(least_bytes(c, 4).near, 3 * kRows);
  EXPECT_EQ(least_bytes(c, 4).far, 3 * kRows);
  c.expert.reduce = ExpertReduce::kNode;
  EXPECT_EQ(least_bytes(c, 4).near, 4 * kRows);
  EXPECT_EQ(least_bytes(c, 4).far, 2 * kRows);
}

// The buffers of all ranks, filled.
struct World {
  explicit World(const Case& c) {
    for (int r = 0; r < kRanks; ++r) {
      problems.push_back(std::make_unique<ExpertProblem>(c, r, kRanks));
      send.emplace_back(problems.back()->send_bytes());
      recv.emplace_back(problems.back()->recv_bytes());
      problems.back()->fill({send.back().data(), recv.back().data()}, 0, 9);
    }
  }
  uint64_t wrong(size_t r) { return problems[r]->wrong(recv[r].data(), 0, 9); }
  std::vector<std::unique_ptr<ExpertProblem>> problems;
  std::vector<std::vector<uint8_t>> send, recv;
};

TEST(ExpertProblemTest, RowsOfTheRightTokensAreRight) {
  constexpr size_t kRow = 300;
  for (const ExpertLayout layout : kLayouts) {
    const Case c = small_case(Collective::kExpertDispatch, layout);
    World world(c);
    const ExpertPlan plan(c, 1, kRanks);
    EXPECT_EQ(world.wrong(1), plan.rows().size() * 150);
    for (const ExpertRow& row : plan.rows()) {
      const std::vector<uint8_t>& from = world.send[static_cast<size_t>(row.source)];
      std::memcpy(&world.recv[1][row.at * kRow], &from[static_cast<size_t>(row.token) * kRow],
                  kRow);
    }
    EXPECT_EQ(world.wrong(1), 0u);
    // Another token's row is wrong almost everywhere, one bit in one element.
    const size_t at = plan.rows().back().at * kRow;
    std::memcpy(&world.recv[1][at], &world.recv[1][plan.rows()[0].at * kRow], kRow);
    EXPECT_GT(world.wrong(1), 100u);
  }
}

TEST(ExpertProblemTest, AForgottenTermIsWrong) {
  for (const ExpertLayout layout : kLayouts) {
    const Case c = small_case(Collective::kExpertCombine, layout);
    World world(c);
    const auto element = [](const std::vector<uint8_t>& rows, size_t i) {
      uint32_t bits = 0;
      std::memcpy(reinterpret_cast<uint8_t*>(&bits) + 2, &rows[2 * i], 2);
      float value;
      std::memcpy(&value, &bits, 4);
      return value;
    };
    std::vector<float> sums(20 * 150);
    for (int r = 0; r < kRanks; ++r) {
      const ExpertPlan plan(c, r, kRanks);
      for (const ExpertRow& row : plan.rows()) {
        if (row.source != 1) continue;
        for (size_t h = 0; h < 150; ++h) {
          sums[static_cast<size_t>(row.token) * 150 + h] +=
              element(world.send[static_cast<size_t>(r)], row.at * 150 + h);
        }
      }
    }
    for (size_t i = 0; i < sums.size(); ++i) {
      std::memcpy(&world.recv[1][2 * i], reinterpret_cast<const uint8_t*>(&sums[i]) + 2, 2);
    }
    EXPECT_EQ(world.wrong(1), 0u);
    std::memset(world.recv[1].data(), 0, 300);
    EXPECT_GT(world.wrong(1), 100u);
  }
}

}  // namespace
}  // namespace perf
