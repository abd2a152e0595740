// The properties of dispatch and combine through the C API, on ranks as threads.
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/property_cases.h"

namespace tutti {
namespace {

using Case = void (*)(const RunRanks&, const oracle::Problem&, uint64_t);

class ExpertProperty : public ApiTest {
 protected:
  void run_seeds(uint64_t seeds, Case run_case, bool by_expert_only = false) {
    const RunRanks threads = [](int nranks, const std::function<void(int, tuttiComm_t)>& body) {
      Team(nranks).run(body);
    };
    for (uint64_t seed = 1; seed <= seeds; ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      const oracle::Problem p = rows_problem(seed);
      if (!by_expert_only || p.has_expert_rows()) run_case(threads, p, seed);
      if (HasFailure()) return;
    }
  }
};

TEST_F(ExpertProperty, CombineIsTheAdjointOfDispatch) { run_seeds(150, expect_adjoint); }
TEST_F(ExpertProperty, ThereAndBackIsTimesTheRowsOfAToken) {
  run_seeds(150, expect_there_and_back);
}
TEST_F(ExpertProperty, BothAreLinear) { run_seeds(80, expect_linear); }
TEST_F(ExpertProperty, AHandleLasts) { run_seeds(4, expect_handle_lasts); }
TEST_F(ExpertProperty, TwoRunsGiveTheSameBits) { run_seeds(60, expect_same_twice); }
TEST_F(ExpertProperty, NothingIsLeftOfEarlierSteps) { run_seeds(60, expect_nothing_stale); }
TEST_F(ExpertProperty, GradientsOfWeightsAreDifferencesOfSums) {
  run_seeds(60, expect_weight_gradient, true);
}

}  // namespace
}  // namespace tutti
