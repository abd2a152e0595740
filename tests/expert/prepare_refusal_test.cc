// What tuttiEpPrepare refuses, and what it does not mind.
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/ep_calls.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/rows_cases.h"

namespace tutti {
namespace {

using oracle::Problem;

class ExpertPrepareRefusal : public ApiTest {};

// Row 2^32 would be row 0.
TEST_F(ExpertPrepareRefusal, MoreRowsThanCanBeCountedAreRefused) {
  Problem p = oracle::two_ranks(oracle::Layout::kExpertSlab);
  p.expert_rank = {0, 0, 0, 1};
  p.slab_rows = INT32_MAX;
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    EXPECT_TRUE(returns(rank == 0 ? tuttiInvalidArgument : tuttiRemoteError, r.prepare()));
    EXPECT_TRUE(names(last_error(), {"rank 0", "4294967295", "6442450941"}));
  });
}

// Whether a rank without tokens gives weights does not matter: it has none to give.
TEST_F(ExpertPrepareRefusal, WeightsAreThoseOfRanksWithTokens) {
  Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  p.ranks[1] = {0, {}, {}};
  for (const bool weighted : {true, false}) {
    const Team team(2);
    team.run([&](int rank, tuttiComm_t comm) {
      const EpRank r(comm, p);
      const tuttiEpTensor_t ids = ep_tensor(r.input().ids, {r.input().tokens, p.topk});
      const tuttiEpTensor_t weights = ep_tensor(r.input().weights, {r.input().tokens, p.topk});
      const tuttiEpTensor_t zeroed = {};
      const tuttiEpTensor_t* const mine[] = {weighted == (rank == 0) ? &weights : nullptr,
                                             weighted == (rank == 0) ? &weights : &zeroed};
      for (const tuttiEpTensor_t* given : mine) {
        ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(r.handle, &ids, given, nullptr, nullptr)));
        EpCombine op;
        const std::vector<float> rows(16);
        const std::vector<float> y(8);
        op.in.x = ep_tensor(rows, {8, 2});
        op.out.x = ep_tensor(y, {r.input().tokens, 2});
        op.config.weight = TUTTI_EP_WEIGHT_APPLY;
        EXPECT_TRUE(returns(weighted ? tuttiSuccess : tuttiInvalidUsage, op.run(r.handle)));
      }
    });
  }
}

// So does one that has nothing to compare with theirs.
TEST_F(ExpertPrepareRefusal, RanksThatDifferInWeightsAreHeardByAll) {
  Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  p.ranks.insert(p.ranks.begin(), {0, {}, {}});
  const Team team(3);
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    const tuttiEpTensor_t ids = ep_tensor(r.input().ids, {r.input().tokens, p.topk});
    const tuttiEpTensor_t weights = ep_tensor(r.input().weights, {r.input().tokens, p.topk});
    const tuttiEpTensor_t* const given = rank == 1 ? &weights : nullptr;
    EXPECT_TRUE(
        returns(tuttiInvalidArgument, tuttiEpPrepare(r.handle, &ids, given, nullptr, nullptr)));
    EXPECT_TRUE(names(last_error(), {"topk_weight", "rank 2"}));
    EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
  });
}

TEST_F(ExpertPrepareRefusal, SlotsOfRowsHaveNoGaps) {
  const Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    const std::vector<int32_t> slots(24, -7);
    tuttiEpLayoutInfo_t info = {};
    info.hdr = TUTTI_EP_HDR(tuttiEpLayoutInfo_t);
    info.row_slot = ep_tensor(slots, {8, 2});
    if (rank == 1) info.row_slot.row_stride_bytes = 12;
    EXPECT_TRUE(returns(rank == 1 ? tuttiInvalidArgument : tuttiRemoteError, r.prepare(&info)));
    EXPECT_TRUE(names(last_error(), {rank == 1 ? "row_slot" : "rank 1"}));
    EXPECT_EQ(slots, std::vector<int32_t>(24, -7));
  });
}

}  // namespace
}  // namespace tutti
