// The whole catalogue, verified for small numbers of ranks and around a power of two. The full
// range is `tutti-schedule verify --ranks 1..64,127..129,255..257`.
#include <gtest/gtest.h>

#include "comm/verify/sweep.h"

namespace tutti {
namespace {

class CatalogVerify : public ::testing::TestWithParam<size_t> {};

TEST_P(CatalogVerify, IsRight) {
  const Algorithm& algorithm = catalog()[GetParam()];
  Verifier verifier;
  for (int n = 1; n <= 33; n = n == 17 ? 31 : n + 1) {
    const SweepResult result = sweep(algorithm, n, &verifier);
    ASSERT_FALSE(result.defect.has_value())
        << name_of(algorithm.collective) << " " << algorithm.name << " with " << result.failed_case
        << "\n"
        << describe(*result.defect);
    EXPECT_GE(result.cases, 2u);
    EXPECT_GE(result.slots, 1u);
    // Every transport has at least two slots.
    EXPECT_LE(result.slots, 2u) << name_of(algorithm.collective) << " " << algorithm.name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, CatalogVerify, ::testing::Range<size_t>(0, catalog().size()),
                         [](const ::testing::TestParamInfo<size_t>& tested) {
                           const Algorithm& a = catalog()[tested.param];
                           return std::string(name_of(a.collective)) + "_" + a.name;
                         });

}  // namespace
}  // namespace tutti
