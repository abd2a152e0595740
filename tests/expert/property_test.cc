// The properties of dispatch and combine through the C API, on ranks as threads.
#include <algorithm>
#include <gtest/gtest.h>
#include <set>
#include <string>

#include "tests/api/team.h"
#include "tests/expert/property_cases.h"
#include "tests/expert/tensor_cases.h"

namespace tutti {
namespace {

using Case = void (*)(const RunRanks&, const oracle::Problem&, uint64_t);

class ExpertProperty : public ApiTest {
 protected:
  const RunRanks threads_ = [](int nranks, const std::function<void(int, tuttiComm_t)>& body) {
    Team(nranks).run(body);
  };
  void run_seeds(uint64_t seeds, Case run_case, bool by_expert_only = false) {
    for (uint64_t seed = 1; seed <= seeds; ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      const oracle::Problem p = rows_problem(seed);
      if (!by_expert_only || p.has_expert_rows()) run_case(threads_, p, seed);
      if (HasFailure()) return;
    }
  }
};

TEST_F(ExpertProperty, CombineIsTheAdjointOfDispatch) { run_seeds(100, expect_adjoint); }
TEST_F(ExpertProperty, ThereAndBackIsTimesTheRowsOfAToken) {
  run_seeds(100, expect_there_and_back);
}
TEST_F(ExpertProperty, BothAreLinear) { run_seeds(80, expect_linear); }
TEST_F(ExpertProperty, AHandleLasts) { run_seeds(4, expect_handle_lasts); }
TEST_F(ExpertProperty, TwoRunsGiveTheSameBits) { run_seeds(60, expect_same_twice); }
TEST_F(ExpertProperty, NothingIsLeftOfEarlierSteps) { run_seeds(60, expect_nothing_stale); }
TEST_F(ExpertProperty, GradientsOfWeightsAreDifferencesOfSums) {
  run_seeds(60, expect_weight_gradient, true);
}
TEST_F(ExpertProperty, GapsAndInputsStayAsTheyAre) {
  run_seeds(60, expect_dispatched_with_gaps);
  run_seeds(60, expect_combined_with_gaps);
}

// Among the problems that all of these go through.
TEST_F(ExpertProperty, WhatIsEmptyOccurs) {
  std::set<std::string> seen;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const oracle::Problem p = rows_problem(seed);
    const oracle::Prepared want = oracle::prepare(p);
    int64_t tokens = 0;
    int64_t most_rows = 0;
    for (size_t r = 0; r < p.ranks.size(); ++r) {
      tokens += p.ranks[r].tokens;
      most_rows = std::max(most_rows, want.layouts[r].recv_tokens);
      if (p.max_tokens > 0 && p.ranks[r].tokens == 0) seen.insert("a rank without tokens");
      if (want.layouts[r].experts.empty()) seen.insert("a rank without experts");
      if (want.layouts[r].recv_tokens == 0) seen.insert("a rank that receives nothing");
    }
    if (p.nranks() == 1) seen.insert("one rank");
    if (p.num_experts == 1) seen.insert("one expert");
    if (p.max_tokens == 0) seen.insert("no room for tokens");
    if (p.max_tokens > 0 && tokens == 0) seen.insert("no tokens");
    if (tokens > 0 && most_rows == 0) seen.insert("tokens that go nowhere");
  }
  EXPECT_EQ(seen,
            (std::set<std::string>{"a rank without tokens", "a rank without experts",
                                   "a rank that receives nothing", "one rank", "one expert",
                                   "no room for tokens", "no tokens", "tokens that go nowhere"}));
}

TEST_F(ExpertProperty, SixtyFourExpertsAToken) {
  for (const oracle::Layout layout : {oracle::Layout::kFlat, oracle::Layout::kExpertMajor,
                                      oracle::Layout::kExpertSlab, oracle::Layout::kRankMajor}) {
    const oracle::Problem p = widest_problem(layout);
    expect_dispatched(threads_, p, 2);
    for (const uint64_t seed : {1, 2, 3}) expect_combined(threads_, p, seed);
  }
}

}  // namespace
}  // namespace tutti
