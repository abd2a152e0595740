// expert_ranks: one rank of a job that checks Dispatch and Combine between processes. Started by a
// launcher with the transport in TUTTI_TRANSPORT; every problem runs on a subgroup of its size.
//   expert_ranks SEEDS
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>
#include <map>

#include "tests/api/team.h"
#include "tests/expert/async_cases.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/property_cases.h"
#include "tests/expert/rows_cases.h"
#include "tests/expert/stats_cases.h"
#include "tests/expert/tensor_cases.h"
#include "tests/expert/zero_copy_cases.h"

namespace tutti {
namespace {

tuttiComm_t world = nullptr;
uint64_t seeds = 0;

std::map<int, tuttiComm_t> made;  // by size

// Made by all ranks of the job when first asked for; null on those beyond `nranks`.
tuttiComm_t group_of(int nranks) {
  const auto found = made.find(nranks);
  if (found != made.end()) return found->second;
  int rank = 0;
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommUserRank(world, &rank)));
  tuttiComm_t comm = nullptr;
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommSplit(world, rank < nranks ? 0 : TUTTI_SPLIT_NOCOLOR,
                                                   rank, &comm, nullptr)));
  return made[nranks] = comm;
}

void run_here(int nranks, const std::function<void(int, tuttiComm_t)>& body) {
  const tuttiComm_t comm = group_of(nranks);
  if (comm == nullptr) return;
  int rank = 0;
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommUserRank(comm, &rank)));
  body(rank, comm);
}

using Case = void (*)(const RunRanks&, const oracle::Problem&, uint64_t);

void run_seeds(Case run_case, uint64_t most = UINT64_MAX) {
  int nranks = 0;
  ASSERT_TRUE(returns(tuttiSuccess, tuttiCommCount(world, &nranks)));
  for (uint64_t seed = 1; seed <= std::min(seeds, most); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const oracle::Problem p = rows_problem(seed);
    if (p.nranks() > nranks) continue;
    run_case(run_here, p, seed);
    // A rank that goes on would wait for this one.
    if (testing::Test::HasFailure()) std::exit(1);
  }
}

TEST(ExpertRanks, DispatchAsTheOracleSays) { run_seeds(expect_dispatched); }
TEST(ExpertRanks, WeightedDispatchAsTheOracleSays) {
  run_seeds([](const RunRanks& run, const oracle::Problem& p, uint64_t seed) {
    if (p.has_expert_rows()) expect_weighted(run, p, seed);
  });
}
TEST(ExpertRanks, QuantisedDispatchAsTheOracleSays) { run_seeds(expect_quantised); }
TEST(ExpertRanks, CombineAsTheOracleSays) { run_seeds(expect_combined); }
TEST(ExpertRanks, RowsAsTheOracleCounts) { run_seeds(expect_traffic); }
TEST(ExpertRanks, PlacementsAsTheOracleSays) { run_seeds(expect_placements); }
TEST(ExpertRanks, RefusalOfAPlacementIsHeardByAll) { expect_placement_refused(run_here); }
TEST(ExpertRanks, MasksAreAgreedOn) { expect_masks_agreed(run_here); }
TEST(ExpertRanks, AMaskedRankIsAlone) { expect_masked_rank_is_alone(run_here); }
TEST(ExpertRanks, AMaskedRankIsReadmitted) { expect_readmitted(run_here); }

Reach reach() {
  const char* const transport = std::getenv("TUTTI_TRANSPORT");
  return transport != nullptr && std::string(transport) == "shm" ? Reach::kShared : Reach::kNone;
}
TEST(ExpertRanks, NothingIsStagedOrItIsRefused) {
  run_seeds([](const RunRanks& run, const oracle::Problem& p, uint64_t seed) {
    if (seed % 3 == 0) expect_zero_copy(run, p, seed, reach());
  });
}
TEST(ExpertRanks, ZeroCopyNeedsTheGroupsMemory) {
  expect_zero_copy_needs_the_groups_memory(run_here, reach());
}
TEST(ExpertRanks, RefusalOfDispatchIsHeardByAll) { expect_dispatch_refused(run_here); }
TEST(ExpertRanks, RefusalOfCombineIsHeardByAll) { expect_combine_refused(run_here); }

TEST(ExpertRanks, CompletedInOrder) { expect_in_flight(run_here, 3, false); }
TEST(ExpertRanks, CompletedInReversedOrder) { expect_in_flight(run_here, 3, true); }
TEST(ExpertRanks, TwoBatchesInTurns) { expect_two_batches(run_here, 4); }
TEST(ExpertRanks, StreamsInFlight) { expect_streams_in_flight(run_here, 3); }
TEST(ExpertRanks, RefusalsAreToldByComplete) { expect_send_only_refused(run_here); }
TEST(ExpertRanks, GroupsOfCalls) { expect_grouped_rows(run_here, 4); }

TEST(ExpertRanks, ManyValues) {
  for (const oracle::Layout layout : {oracle::Layout::kFlat, oracle::Layout::kExpertMajor}) {
    expect_dispatched(run_here, many_values_problem(layout), 20);
    expect_combined(run_here, many_values_problem(layout), 20);
  }
}

TEST(ExpertRanks, CombineIsTheAdjointOfDispatch) { run_seeds(expect_adjoint, 100); }
TEST(ExpertRanks, ThereAndBackIsTimesTheRowsOfAToken) { run_seeds(expect_there_and_back, 100); }
TEST(ExpertRanks, BothAreLinear) { run_seeds(expect_linear, 50); }
TEST(ExpertRanks, AHandleLasts) { run_seeds(expect_handle_lasts, 3); }
TEST(ExpertRanks, TwoRunsGiveTheSameBits) { run_seeds(expect_same_twice, 50); }
TEST(ExpertRanks, NothingIsLeftOfEarlierSteps) { run_seeds(expect_nothing_stale, 50); }
TEST(ExpertRanks, GapsAndInputsStayAsTheyAre) {
  run_seeds(expect_dispatched_with_gaps, 50);
  run_seeds(expect_combined_with_gaps, 50);
}
TEST(ExpertRanks, GradientsOfWeightsAreDifferencesOfSums) {
  run_seeds(
      [](const RunRanks& run, const oracle::Problem& p, uint64_t seed) {
        if (p.has_expert_rows()) expect_weight_gradient(run, p, seed);
      },
      50);
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  tutti::seeds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100;
  if (tuttiCommInitEnv(&tutti::world, nullptr) != tuttiSuccess) {
    std::fprintf(stderr, "%s\n", tuttiGetLastError(nullptr));
    return 1;
  }
  const int failed = RUN_ALL_TESTS();
  if (failed != 0) return failed;
  tutti::made[0] = tutti::world;
  for (const auto& [nranks, comm] : tutti::made) {
    if (comm != nullptr && tuttiCommFinalize(comm) != tuttiSuccess) return 1;
    if (tuttiCommDestroy(comm) != tuttiSuccess) return 1;
  }
  return 0;
}
