// Operations of expert groups that nobody waits for, on ranks as threads.
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/async_cases.h"
#include "tests/expert/oracle_cases.h"

namespace tutti {
namespace {

class ExpertAsync : public ApiTest {
 protected:
  const RunRanks threads_ = [](int nranks, const std::function<void(int, tuttiComm_t)>& body) {
    Team(nranks).run(body);
  };
};

TEST_F(ExpertAsync, CompletedInOrder) {
  for (int nranks = 1; nranks <= 4; ++nranks) expect_in_flight(threads_, nranks, false);
}
TEST_F(ExpertAsync, CompletedInReversedOrder) {
  for (int nranks = 1; nranks <= 4; ++nranks) expect_in_flight(threads_, nranks, true);
}
TEST_F(ExpertAsync, TwoBatchesInTurns) {
  for (int nranks = 1; nranks <= 4; ++nranks) expect_two_batches(threads_, nranks);
}
TEST_F(ExpertAsync, StreamsInFlight) {
  for (int nranks = 1; nranks <= 3; ++nranks) expect_streams_in_flight(threads_, nranks);
}
TEST_F(ExpertAsync, RefusalsAreToldByComplete) { expect_send_only_refused(threads_); }
TEST_F(ExpertAsync, GroupsOfCalls) {
  for (int nranks = 1; nranks <= 4; ++nranks) expect_grouped_rows(threads_, nranks);
}

// The one call of a rank of `two_ranks`, FLAT.
struct OneDispatch {
  explicit OneDispatch(const EpRank& r) : x(32, 1), out(32, -7) {
    op.config.send_only = 1;
    op.in.x = ep_tensor(x, {r.input().tokens, 2});
    op.out.x = ep_tensor(out, {8, 2});
  }
  std::vector<float> x, out;
  EpDispatch op;
};

// The rows leave although the caller does not come back, and the peer comes only after something
// that this rank does later.
TEST_F(ExpertAsync, ReturnsBeforeThePeerHasCalled) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    for (int round = 0; round < 20; ++round) {
      OneDispatch call(r);
      if (rank == 0) {
        ASSERT_TRUE(returns(tuttiSuccess, call.op.run(r.handle)));
        EXPECT_EQ(r.info().num_tokens, 3) << "what Prepare has found is known all the time";
        ASSERT_TRUE(returns(tuttiSuccess, tuttiBarrier(comm, nullptr)));
      } else {
        ASSERT_TRUE(returns(tuttiSuccess, tuttiBarrier(comm, nullptr)));
        ASSERT_TRUE(returns(tuttiSuccess, call.op.run(r.handle)));
      }
      // Here rank 1 needs rank 0, which may not be in Tutti at all.
      if (rank == 1) {
        ASSERT_TRUE(
            returns(tuttiSuccess, tuttiEpComplete(r.handle, TUTTI_EP_OP_DISPATCH, nullptr)));
        ASSERT_TRUE(returns(tuttiSuccess, tuttiBarrier(comm, nullptr)));
      } else {
        ASSERT_TRUE(returns(tuttiSuccess, tuttiBarrier(comm, nullptr)));
        ASSERT_TRUE(
            returns(tuttiSuccess, tuttiEpComplete(r.handle, TUTTI_EP_OP_DISPATCH, nullptr)));
      }
      EXPECT_EQ(call.out[0], 1);
    }
  });
}

TEST_F(ExpertAsync, WhatIsWrongWithCompleteIsSaid) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int, tuttiComm_t comm) {
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const auto complete = [&](tuttiEpOp_t op) { return tuttiEpComplete(r.handle, op, nullptr); };
    EXPECT_TRUE(returns(tuttiInvalidUsage, complete(TUTTI_EP_OP_DISPATCH)));
    EXPECT_TRUE(names(last_error(), {"tuttiEpComplete", "tuttiEpDispatch"}));
    EXPECT_TRUE(returns(tuttiInvalidArgument, complete(static_cast<tuttiEpOp_t>(2))));
    EXPECT_TRUE(
        returns(tuttiInvalidArgument, tuttiEpComplete(nullptr, TUTTI_EP_OP_DISPATCH, nullptr)));
    OneDispatch call(r);
    ASSERT_TRUE(returns(tuttiSuccess, call.op.run(r.handle)));
    EXPECT_TRUE(returns(tuttiInvalidUsage, complete(TUTTI_EP_OP_COMBINE)));
    EXPECT_TRUE(
        returns(tuttiInvalidArgument, tuttiEpComplete(r.handle, TUTTI_EP_OP_DISPATCH, &call)));
    ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    EXPECT_TRUE(returns(tuttiInvalidUsage, complete(TUTTI_EP_OP_DISPATCH)));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiGroupEnd()));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiEpGroupDestroy(r.group)));
    EXPECT_TRUE(returns(tuttiSuccess, complete(TUTTI_EP_OP_DISPATCH)));
    EXPECT_TRUE(returns(tuttiInvalidUsage, complete(TUTTI_EP_OP_DISPATCH)));
    EXPECT_EQ(call.out[0], 1);
  });
}

TEST_F(ExpertAsync, MaxInflightIsTwoOrMoreAndTheSameOnAllRanks) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    tuttiEpGroupConfig_t config = ep_group_config(p);
    tuttiEpGroup_t group = nullptr;
    config.max_inflight = 1;
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpGroupCreate(&group, comm, &config)));
    EXPECT_TRUE(names(last_error(), {"max_inflight", "got 1"}));
    config.max_inflight = 2 + rank;
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpGroupCreate(&group, comm, &config)));
    EXPECT_TRUE(names(last_error(), {"max_inflight"}));
  });
}

// Nobody can complete anything any more, so nothing is held for it.
TEST_F(ExpertAsync, UncompletedOperationsOfADeadCommunicatorHoldNothing) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    EpRank r(comm, p);
    const tuttiResult_t prepared = r.prepare();
    OneDispatch call(r);
    // Rank 1 never calls it, and may have heard of the end while it was in Prepare.
    if (rank == 0) {
      ASSERT_TRUE(returns(tuttiSuccess, prepared));
      ASSERT_TRUE(returns(tuttiSuccess, call.op.run(r.handle)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(comm)));
      EXPECT_NE(tuttiEpComplete(r.handle, TUTTI_EP_OP_DISPATCH, nullptr), tuttiSuccess);
    }
    EXPECT_TRUE(wait_until([&] { return tuttiEpHandleDestroy(r.handle) == tuttiSuccess; }));
    r.handle = nullptr;
  });
}

}  // namespace
}  // namespace tutti
