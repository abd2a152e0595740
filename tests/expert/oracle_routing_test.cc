// Routing by hand, and what must hold on any routing.
#include <gtest/gtest.h>

#include "tests/expert/oracle_cases.h"

namespace tutti::oracle {
namespace {

using Ids = std::vector<int32_t>;
using Verdicts = std::vector<tuttiResult_t>;

constexpr uint64_t kProblems = 400;

TEST(OracleRouting, ExpertsLieInBlocksUnlessAMapSaysOtherwise) {
  Problem p;
  p.ranks.resize(4);
  p.num_experts = 6;  // blocks of two: the last rank has none
  EXPECT_EQ(p.experts_of(0), (Ids{0, 1}));
  EXPECT_EQ(p.experts_of(2), (Ids{4, 5}));
  EXPECT_EQ(p.experts_of(3), Ids{});
  p.expert_rank = {3, 0, 3, 0, 0, 3};
  EXPECT_EQ(p.experts_of(3), (Ids{0, 2, 5}));
  EXPECT_EQ(p.experts_of(1), Ids{});
}

TEST(OracleRouting, NegativeIdsAndMaskedRanksGoNowhere) {
  Problem p = two_ranks(Layout::kFlat);
  EXPECT_EQ(route(p).kept[0], (Ids{0, 2, 3, 3, -1, 1}));
  EXPECT_EQ(route(p).keep[0], (std::vector<uint8_t>{1, 1, 1, 1, 0, 1}));
  p.masked = {0, 1};
  const Routing routing = route(p);
  EXPECT_EQ(routing.kept[0], (Ids{0, -1, -1, -1, -1, 1}));
  EXPECT_EQ(routing.wanted[0], routing.kept[0]);
  EXPECT_EQ(routing.kept[1], (Ids{-1, -1}));
  EXPECT_EQ(routing.dropped, (std::vector<int64_t>{0, 0}));
}

// Logical experts 0 and 1; 0 has copies 0, 2, 3 and 1 has copy 1. Expert e on rank e.
Problem copies(Replica replica) {
  Problem p;
  p.num_experts = 4;
  p.num_logical = 2;
  p.phys_to_log = {0, 1, 0, 0};
  p.replica = replica;
  p.ranks_per_node = 2;
  p.max_tokens = 4;
  p.ranks.assign(4, {4, {0, 0, 0, 1}, {}});
  return p;
}

TEST(OracleRouting, CopiesTakeTurnsByRankAndToken) {
  const Routing routing = route(copies(Replica::kRoundRobin));
  EXPECT_EQ(routing.kept[0], (Ids{0, 2, 3, 1}));
  EXPECT_EQ(routing.kept[1], (Ids{2, 3, 0, 1}));
  EXPECT_EQ(routing.kept[3], (Ids{0, 2, 3, 1}));
  EXPECT_EQ(route(copies(Replica::kNone)).kept[3], (Ids{0, 0, 0, 1}));
}

TEST(OracleRouting, TheNearestCopyIsOnTheOwnRankThenOnTheOwnNode) {
  Problem p = copies(Replica::kNearest);
  EXPECT_EQ(route(p).kept[0], (Ids{0, 0, 0, 1}));
  EXPECT_EQ(route(p).kept[1], (Ids{0, 0, 0, 1}));  // of its node
  EXPECT_EQ(route(p).kept[3], (Ids{3, 3, 3, 1}));
  p.phys_to_log = {1, 1, 0, 0};
  EXPECT_EQ(route(p).kept[0], (Ids{2, 3, 2, 0}));  // none near: in turns
}

TEST(OracleRouting, BadInputIsToldToEveryRank) {
  Problem p = two_ranks(Layout::kFlat);
  EXPECT_EQ(prepare(p).verdict, (Verdicts{tuttiSuccess, tuttiSuccess}));
  p.ranks[1].ids[0] = 4;
  EXPECT_EQ(prepare(p).verdict, (Verdicts{tuttiRemoteError, tuttiInvalidArgument}));
  EXPECT_EQ(route(p).kept[0], Ids(6, -1));
  p.masked = {0, 1};
  EXPECT_EQ(prepare(p).verdict, (Verdicts{tuttiSuccess, tuttiSuccess}));
  p = two_ranks(Layout::kFlat);
  p.max_tokens = 2;
  EXPECT_EQ(prepare(p).verdict, (Verdicts{tuttiInvalidArgument, tuttiRemoteError}));
  p = copies(Replica::kNone);
  p.ranks[2].ids[1] = 2;  // an expert, but no logical one
  EXPECT_EQ(prepare(p).verdict[2], tuttiInvalidArgument);
}

TEST(OracleRouting, KeepingByWeightNeedsWeights) {
  Problem p = two_ranks(Layout::kFlat);
  p.capacity_mode = CapacityMode::kExpertPerSource;
  p.keep = Keep::kWeight;
  p.ranks[0].weights.clear();
  EXPECT_EQ(prepare(p).verdict, (Verdicts{tuttiInvalidArgument, tuttiRemoteError}));
}

// Rank 0 sends 0 1 | 0 0 and rank 1 sends 0 1 | 1 0; one expert on each.
Problem crowd(CapacityMode mode, int64_t capacity) {
  Problem p;
  p.topk = 2;
  p.max_tokens = 2;
  p.num_experts = 2;
  p.ranks = {{2, {0, 1, 0, 0}, {1, 1, 3, 3}}, {2, {0, 1, 1, 0}, {1, 2, 2, 1}}};
  p.capacity_mode = mode;
  p.capacity = capacity;
  return p;
}

TEST(OracleRouting, CapacityOfARankDropsLaterTokensWhole) {
  const Routing routing = route(crowd(CapacityMode::kRank, 2));
  EXPECT_EQ(routing.kept[0], (Ids{0, 1, 0, 0}));
  EXPECT_EQ(routing.kept[1], (Ids{-1, 1, -1, -1}));
  EXPECT_EQ(routing.dropped, (std::vector<int64_t>{0, 3}));
}

TEST(OracleRouting, CapacityPerSourceKeepsTheFirstOrTheHeaviest) {
  Problem p = crowd(CapacityMode::kExpertPerSource, 1);
  EXPECT_EQ(route(p).kept[0], (Ids{0, 1, -1, -1}));
  EXPECT_EQ(route(p).kept[1], (Ids{0, 1, -1, -1}));
  p.keep = Keep::kWeight;
  EXPECT_EQ(route(p).kept[0], (Ids{-1, 1, 0, -1}));  // 3 before 1; of two 3 the lower k
  EXPECT_EQ(route(p).kept[1], (Ids{0, 1, -1, -1}));  // equal: the lower token
  EXPECT_EQ(route(p).dropped, (std::vector<int64_t>{2, 2}));
}

TEST(OracleRouting, GlobalCapacityCountsOverAllSources) {
  const Problem p = crowd(CapacityMode::kExpertGlobal, 3);
  const Prepared prepared = prepare(p);
  EXPECT_EQ(prepared.routing.kept[0], (Ids{0, 1, 0, 0}));
  EXPECT_EQ(prepared.routing.kept[1], (Ids{-1, 1, 1, -1}));
  EXPECT_EQ(prepared.routing.dropped, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(prepared.layouts[0].want_count, (std::vector<int64_t>{5}));
  EXPECT_EQ(prepared.layouts[0].expert_count, (std::vector<int64_t>{3}));
  EXPECT_EQ(prepared.layouts[1].expert_count, (std::vector<int64_t>{3}));
}

// What was kept, as the input of a problem without capacity, masks and copies.
Problem as_dropless(const Problem& p, const Routing& routing) {
  Problem plain = p;
  plain.capacity_mode = CapacityMode::kNone;
  plain.num_logical = 0;
  plain.masked.clear();
  for (int r = 0; r < p.nranks(); ++r) {
    plain.ranks[r].ids.assign(routing.kept[r].begin(), routing.kept[r].end());
  }
  return plain;
}

TEST(OracleRouting, WhatIsDroppedOrMaskedIsLikeIdMinusOne) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const Problem p = random_problem(seed, Limits{});
    const Routing routing = route(p);
    const Routing plain = route(as_dropless(p, routing));
    EXPECT_EQ(plain.kept, routing.kept) << "seed " << seed;
    EXPECT_EQ(plain.keep, routing.keep) << "seed " << seed;
  }
}

TEST(OracleRouting, ACapacityThatIsLargeEnoughDropsNothing) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    Problem p = random_problem(seed, Limits{});
    p.capacity = p.nranks() * p.max_tokens * p.topk;
    const Routing routing = route(p);
    EXPECT_EQ(routing.kept, routing.wanted) << "seed " << seed;
    p.capacity = 0;
    const Routing nothing = route(p);
    if (p.capacity_mode == CapacityMode::kNone) continue;
    for (const auto& keep : nothing.keep) {
      EXPECT_EQ(std::count(keep.begin(), keep.end(), 1), 0) << "seed " << seed;
    }
  }
}

// Capacity is used up before anything is dropped, and never exceeded.
TEST(OracleRouting, CapacityIsTheSmallerOfWhatIsWantedAndWhatThereIsRoomFor) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const Problem p = random_problem(seed, Limits{});
    const Routing routing = route(p);
    for (int32_t e = 0; e < p.num_experts; ++e) {
      int64_t all_wanted = 0;
      int64_t all_kept = 0;
      for (int src = 0; src < p.nranks(); ++src) {
        const auto& w = routing.wanted[src];
        const auto& k = routing.kept[src];
        const int64_t wanted = std::count(w.begin(), w.end(), e);
        const int64_t kept = std::count(k.begin(), k.end(), e);
        all_wanted += wanted;
        all_kept += kept;
        if (p.capacity_mode != CapacityMode::kExpertPerSource) continue;
        ASSERT_EQ(kept, std::min(wanted, p.capacity)) << "seed " << seed;
      }
      if (p.capacity_mode != CapacityMode::kExpertGlobal) continue;
      ASSERT_EQ(all_kept, std::min(all_wanted, p.capacity)) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace tutti::oracle
