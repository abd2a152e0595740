// Masks through the C API, on ranks as threads; that nothing crosses to and from masked ranks the
// tests of rows check.
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/rows_cases.h"

namespace tutti {
namespace {

class ExpertMasksApi : public ApiTest {
 protected:
  const RunRanks threads_ = [](int nranks, const std::function<void(int, tuttiComm_t)>& body) {
    Team(nranks).run(body);
  };
};

TEST_F(ExpertMasksApi, AreAgreedOn) { expect_masks_agreed(threads_); }
TEST_F(ExpertMasksApi, AMaskedRankIsAlone) { expect_masked_rank_is_alone(threads_); }
TEST_F(ExpertMasksApi, AMaskedRankIsReadmitted) { expect_readmitted(threads_); }

// The same bytes everywhere but on masked ranks as of ids that say so themselves.
TEST_F(ExpertMasksApi, AreLikeNegativeIds) {
  int masked = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const oracle::Problem p = rows_problem(seed);
    if (p.masked.empty()) continue;
    ++masked;
    const oracle::Prepared want = oracle::prepare(p);
    oracle::Problem plain = p;
    plain.masked.clear();
    plain.num_logical = 0;
    plain.phys_to_log.clear();
    for (size_t r = 0; r < p.ranks.size(); ++r) {
      const std::vector<int32_t>& ids = want.routing.wanted[r];
      plain.ranks[r].ids.assign(ids.begin(), ids.end());
    }
    const oracle::Prepared same = oracle::prepare(plain);
    for (size_t r = 0; r < p.ranks.size(); ++r) {
      EXPECT_EQ(want.routing.kept[r], same.routing.kept[r]);
      if (p.is_masked(static_cast<int>(r))) continue;
      EXPECT_EQ(want.layouts[r].row_src, same.layouts[r].row_src);
      EXPECT_EQ(want.layouts[r].row_slot, same.layouts[r].row_slot);
    }
    expect_dispatched(threads_, plain, seed);
    if (HasFailure()) return;
  }
  EXPECT_GT(masked, 40);
}

TEST_F(ExpertMasksApi, WhatIsWrongIsSaid) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  Team(2).run([&](int, tuttiComm_t comm) {
    const EpRank r(comm, p);
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpMaskSet(nullptr, 0, 1)));
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpMaskSet(r.group, 2, 1)));
    EXPECT_TRUE(names(last_error(), {"tuttiEpMaskSet", "0 to 1", "got 2"}));
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpMaskSet(r.group, -1, 1)));
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpMaskGet(nullptr, nullptr, nullptr)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpMaskGet(r.group, nullptr, nullptr)));
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpReadmit(r.group, 2, nullptr)));
    EXPECT_TRUE(names(last_error(), {"tuttiEpReadmit", "0 to 1", "got 2"}));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiEpReadmit(r.group, 1, nullptr)));
    EXPECT_TRUE(names(last_error(), {"tuttiEpReadmit", "rank 1"}));
    ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiEpReadmit(r.group, 1, nullptr)));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiGroupEnd()));
    EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
  });
}

// Which nothing stands behind yet: it is refused, not taken for FAIL.
TEST_F(ExpertMasksApi, FaultMaskIsRefused) {
  Team(2).run([&](int rank, tuttiComm_t comm) {
    tuttiEpGroupConfig_t config = ep_group_config(oracle::two_ranks(oracle::Layout::kFlat));
    tuttiEpGroup_t group = nullptr;
    if (rank == 0) config.fault = TUTTI_EP_FAULT_MASK;
    EXPECT_TRUE(returns(rank == 0 ? tuttiUnsupported : tuttiRemoteError,
                        tuttiEpGroupCreate(&group, comm, &config)));
    EXPECT_TRUE(names(last_error(), {rank == 0 ? "TUTTI_EP_FAULT_MASK" : "rank 0"}));
    config.fault = TUTTI_EP_FAULT_FAIL;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiEpGroupCreate(&group, comm, &config)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupDestroy(group)));
  });
}

}  // namespace
}  // namespace tutti
