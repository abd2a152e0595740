// tuttiEpGetAsyncError, of what happens on streams.
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/rows_cases.h"

namespace tutti {
namespace {

class ExpertAsyncError : public ApiTest {};

void expect_async_error(tuttiEpGroup_t group, tuttiResult_t error, int rank) {
  tuttiResult_t got = tuttiInternalError;
  int got_rank = 77;
  ASSERT_TRUE(returns(tuttiSuccess, tuttiEpGetAsyncError(group, &got, &got_rank)));
  EXPECT_TRUE(returns(error, got));
  EXPECT_EQ(got_rank, rank);
}

TEST_F(ExpertAsyncError, ARefusalIsToldOnceWithTheRank) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  Team(2).run([&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const EpRank r(comm, p);
    const auto refused = rank == 1 ? tuttiInvalidArgument : tuttiRemoteError;
    expect_async_error(r.group, tuttiSuccess, -1);
    const std::vector<float> x(64, 1);
    EpDispatch op;
    op.in.x = ep_tensor(x, {r.input().tokens, 2});
    op.out.x = ep_tensor(x, {rank == 1 ? 1 : 16, 2});
    const auto dispatch = [&](tuttiStream_t stream) {
      return tuttiEpDispatch(r.handle, &op.in, &op.out, nullptr, stream);
    };
    tuttiStream_t stream = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamCreate(&stream)));
    // Told by the call itself.
    EXPECT_TRUE(returns(tuttiInvalidUsage, dispatch(nullptr)));
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_TRUE(returns(refused, dispatch(nullptr)));
    expect_async_error(r.group, tuttiSuccess, -1);
    EXPECT_TRUE(returns(tuttiSuccess, dispatch(stream)));
    EXPECT_TRUE(returns(refused, tuttiStreamSynchronize(stream)));
    expect_async_error(r.group, refused, 1);
    expect_async_error(r.group, tuttiSuccess, -1);
    // Prepare, too; and of two the first.
    std::vector<int64_t> ids = r.input().ids;
    if (rank == 0) ids[0] = 99;
    const tuttiEpTensor_t tensor = ep_tensor(ids, {r.input().tokens, p.topk});
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(r.handle, &tensor, nullptr, nullptr, stream)));
    EXPECT_TRUE(returns(tuttiSuccess, dispatch(stream)));
    const auto wrong = rank == 0 ? tuttiInvalidArgument : tuttiRemoteError;
    EXPECT_TRUE(returns(wrong, tuttiStreamSynchronize(stream)));
    expect_async_error(r.group, wrong, 0);
    expect_async_error(r.group, tuttiSuccess, -1);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGetAsyncError(r.group, nullptr, nullptr)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamDestroy(stream)));
  });
}

// Rank 1 never comes.
TEST_F(ExpertAsyncError, ALatePeerIsNamedForAsLongAsTheGroupLives) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  Team(2, 0.3).run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    if (rank == 0) {
      EXPECT_TRUE(returns(tuttiTimeout, r.prepare()));
    } else {
      ASSERT_TRUE(wait_until([&] {
        tuttiResult_t error = tuttiSuccess;
        return tuttiCommGetAsyncError(comm, &error) == tuttiSuccess && error != tuttiSuccess;
      }));
    }
    for (int round = 0; round < 2; ++round) {
      expect_async_error(r.group, rank == 0 ? tuttiTimeout : tuttiRemoteError, 1 - rank);
    }
  });
}

}  // namespace
}  // namespace tutti
