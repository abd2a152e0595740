// tuttiEpDispatch and tuttiEpCombine through the C API, on ranks as threads.
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/rows_cases.h"

namespace tutti {
namespace {

class ExpertRows : public ApiTest {
 protected:
  const RunRanks threads_ = [](int nranks, const std::function<void(int, tuttiComm_t)>& body) {
    Team(nranks).run(body);
  };
};

TEST_F(ExpertRows, DispatchAsTheOracleSays) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_dispatched(threads_, rows_problem(seed), seed);
    if (HasFailure()) return;
  }
}

TEST_F(ExpertRows, QuantisedDispatchAsTheOracleSays) {
  for (uint64_t seed = 1; seed <= 72; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_quantised(threads_, rows_problem(seed), seed);
    if (HasFailure()) return;
  }
}

TEST_F(ExpertRows, CombineAsTheOracleSays) {
  for (uint64_t seed = 1; seed <= 240; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_combined(threads_, rows_problem(seed), seed);
    if (HasFailure()) return;
  }
}

TEST_F(ExpertRows, WhatIsWrongIsSaid) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  const Team team(2);
  team.run([&](int, tuttiComm_t comm) {
    const EpRank r(comm, p);
    const std::vector<float> x(32);
    EpDispatch op;
    op.in.x = ep_tensor(x, {r.input().tokens, 2});
    op.out.x = ep_tensor(x, {16, 2});
    EXPECT_TRUE(returns(tuttiInvalidUsage, op.run(r.handle))) << "no routing";
    EXPECT_TRUE(names(last_error(), {"Prepare"}));
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    op.out.x = ep_tensor(x, {1, 2});
    EXPECT_TRUE(returns(tuttiInvalidArgument, op.run(r.handle)));
    EXPECT_TRUE(names(last_error(), {"out.x", "rows"}));
    op.out.x = ep_tensor(x, {8, 3});
    EXPECT_TRUE(returns(tuttiInvalidArgument, op.run(r.handle)));
    EXPECT_TRUE(names(last_error(), {"out.x", "[8, 2]", "[8, 3]"}));
    op.out.x = ep_tensor(x, {16, 2});
    EXPECT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
    EpCombine back;
    back.in.x = op.out.x;
    back.out.x = ep_tensor(x, {r.input().tokens, 2});
    back.config.partial = tuttiInt32;
    EXPECT_TRUE(returns(tuttiInvalidArgument, back.run(r.handle)));
    EXPECT_TRUE(names(last_error(), {"partial"}));
  });
}

// What one rank has wrong: the others hear of it instead of waiting, and what follows is right.
TEST_F(ExpertRows, RefusalOfDispatchIsHeardByAll) { expect_dispatch_refused(threads_); }
TEST_F(ExpertRows, RefusalOfCombineIsHeardByAll) { expect_combine_refused(threads_); }

// Ranks that call different things cannot be brought in step again.
TEST_F(ExpertRows, AnotherOperationEndsTheCommunicator) {
  const oracle::Problem p = refusal_problem();
  constexpr int64_t kHidden = 6;
  const Team team(3);
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    const std::vector<float> rows(static_cast<size_t>(3 * p.max_tokens * kHidden), 1);
    const std::vector<float> tokens(static_cast<size_t>(p.max_tokens * kHidden), 1);
    // Others may have found out, and told, while this rank is still in Prepare.
    tuttiResult_t result = r.prepare();
    if (rank == 0 && result == tuttiSuccess) {
      EpCombine op;
      op.in.x = ep_tensor(rows, {3 * p.max_tokens, kHidden});
      op.out.x = ep_tensor(tokens, {p.max_tokens, kHidden});
      result = op.run(r.handle);
    } else if (result == tuttiSuccess) {
      EpDispatch op;
      op.in.x = ep_tensor(tokens, {p.max_tokens, kHidden});
      op.out.x = ep_tensor(rows, {3 * p.max_tokens, kHidden});
      result = op.run(r.handle);
    }
    EXPECT_TRUE(result == tuttiMismatch || result == tuttiRemoteError) << last_error();
  });
}

}  // namespace
}  // namespace tutti
