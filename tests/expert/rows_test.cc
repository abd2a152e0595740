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

TEST_F(ExpertRows, WeightedDispatchAsTheOracleSays) {
  for (uint64_t seed = 1; seed <= 72; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const oracle::Problem p = rows_problem(seed);
    if (p.has_expert_rows()) expect_weighted(threads_, p, seed);
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

TEST_F(ExpertRows, ManyValues) {
  for (const oracle::Layout layout : {oracle::Layout::kFlat, oracle::Layout::kExpertMajor}) {
    expect_dispatched(threads_, many_values_problem(layout), 20);
    expect_combined(threads_, many_values_problem(layout), 20);
  }
}

// What two ranks call at the same place differs: both hear of it, and neither takes wrong data.
TEST_F(ExpertRows, CallsThatDifferAreAnErrorOnBothRanks) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  using Call = std::function<tuttiResult_t(const EpRank&, tuttiEpHandle_t other)>;
  const std::vector<float> x(64);
  const auto dispatch = [&](const EpRank& r, tuttiEpHandle_t handle, int64_t hidden, bool values) {
    const std::vector<float> out(64);
    const std::vector<float> out_weight(64);
    EpDispatch op;
    op.in.x = ep_tensor(x, {r.input().tokens, hidden});
    op.out.x = ep_tensor(out, {8, hidden});
    if (values) op.in.weight = ep_tensor(x, {r.input().tokens, 2});
    if (values) op.out.row_weight = ep_tensor(out_weight, {8, 2});
    return op.run(handle);
  };
  const auto combine = [&](const EpRank& r, tuttiDataType_t partial) {
    const std::vector<float> out(64);
    EpCombine op;
    op.in.x = ep_tensor(x, {8, 2});
    op.out.x = ep_tensor(out, {r.input().tokens, 2});
    op.config.partial = partial;
    return op.run(r.handle);
  };
  const Call plain = [&](const EpRank& r, auto) { return dispatch(r, r.handle, 2, false); };
  const Call others[] = {
      [&](const EpRank& r, tuttiEpHandle_t other) { return dispatch(r, other, 2, false); },
      [&](const EpRank& r, auto) { return dispatch(r, r.handle, 2, true); },
      [&](const EpRank& r, auto) { return combine(r, tuttiFloat32); },
      [&](const EpRank& r, auto) { return r.prepare(); },
  };
  for (size_t i = 0; i < std::size(others); ++i) {
    SCOPED_TRACE("call " + std::to_string(i));
    const Team team(2, 20);
    team.run([&](int rank, tuttiComm_t comm) {
      const EpRank r(comm, p);
      ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
      const tuttiEpHandleConfig_t shape = ep_handle_config(p);
      tuttiEpHandle_t other = nullptr;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpHandleCreate(&other, r.group, &shape, nullptr)));
      const tuttiEpTensor_t ids = ep_tensor(r.input().ids, {r.input().tokens, p.topk});
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(other, &ids, nullptr, nullptr, nullptr)));
      EXPECT_TRUE(returns(tuttiMismatch, rank == 0 ? plain(r, other) : others[i](r, other)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(other)));
    });
  }
}

TEST_F(ExpertRows, WhatIsWrongIsSaid) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  const Team team(2);
  team.run([&](int, tuttiComm_t comm) {
    const EpRank r(comm, p);
    const std::vector<float> x(32);
    const std::vector<float> out(32);
    const std::vector<float> y(32);
    EpDispatch op;
    op.in.x = ep_tensor(x, {r.input().tokens, 2});
    op.out.x = ep_tensor(out, {16, 2});
    EXPECT_TRUE(returns(tuttiInvalidUsage, op.run(r.handle))) << "no routing";
    EXPECT_TRUE(names(last_error(), {"Prepare"}));
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    op.out.x = ep_tensor(out, {1, 2});
    EXPECT_TRUE(returns(tuttiInvalidArgument, op.run(r.handle)));
    EXPECT_TRUE(names(last_error(), {"out.x", "rows"}));
    op.out.x = ep_tensor(out, {8, 3});
    EXPECT_TRUE(returns(tuttiInvalidArgument, op.run(r.handle)));
    EXPECT_TRUE(names(last_error(), {"out.x", "[8, 2]", "[8, 3]"}));
    op.out.x = ep_tensor(out, {16, 2});
    EXPECT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
    EpCombine back;
    back.in.x = op.out.x;
    back.out.x = ep_tensor(y, {r.input().tokens, 2});
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

TEST_F(ExpertRows, DimensionsThatCannotBeAreRefused) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int, tuttiComm_t comm) {
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const std::vector<float> x(32);
    constexpr int64_t kHuge = int64_t{1} << 62;
    // The bytes of a row of 2^62 + 1 numbers wrap to four.
    for (const int64_t last : {kHuge, kHuge + 1, INT64_MIN, int64_t{-1}}) {
      EpDispatch op;
      op.in.x = ep_tensor(x, {r.input().tokens, last});
      op.out.x = ep_tensor(x, {8, last});
      EXPECT_TRUE(returns(tuttiInvalidArgument, op.run(r.handle)));
      EXPECT_TRUE(names(last_error(), {"in.x", std::to_string(last)}));
      EpCombine back;
      back.in.x = ep_tensor(x, {8, last});
      back.out.x = ep_tensor(x, {r.input().tokens, last});
      EXPECT_TRUE(returns(tuttiInvalidArgument, back.run(r.handle)));
    }
    for (const int64_t first : {int64_t{-3}, INT64_MIN, kHuge}) {
      EpDispatch op;
      op.in.x = ep_tensor(x, {first, 2});
      op.out.x = ep_tensor(x, {8, 2});
      EXPECT_TRUE(returns(tuttiInvalidArgument, op.run(r.handle)));
      op.in.x = ep_tensor(x, {r.input().tokens, 2});
      op.out.x = ep_tensor(x, {first, 2});
      EXPECT_TRUE(returns(tuttiInvalidArgument, op.run(r.handle)));
      EXPECT_TRUE(names(last_error(), {"out.x", std::to_string(first)}));
    }
    for (const int32_t ndim : {-1, 0, 1, 3, 5}) {
      EpDispatch op;
      op.in.x = ep_tensor(x, {r.input().tokens, 2});
      op.out.x = op.in.x;
      op.in.x.ndim = ndim;
      EXPECT_TRUE(returns(tuttiInvalidArgument, op.run(r.handle)));
    }
  });
}

TEST_F(ExpertRows, WeightsThatNobodyHasAreRefused) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  const Team team(2);
  team.run([&](int, tuttiComm_t comm) {
    const EpRank r(comm, p);
    const tuttiEpTensor_t ids = ep_tensor(r.input().ids, {r.input().tokens, p.topk});
    ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(r.handle, &ids, nullptr, nullptr, nullptr)));
    const std::vector<float> x(32);
    EpDispatch op;
    op.config.dir = TUTTI_EP_BWD;
    op.config.weight = TUTTI_EP_WEIGHT_APPLY;
    op.in.x = ep_tensor(x, {r.input().tokens, 2});
    op.out.x = ep_tensor(x, {16, 2});
    EXPECT_TRUE(returns(tuttiInvalidUsage, op.run(r.handle)));
    EXPECT_TRUE(names(last_error(), {"tuttiEpDispatch", "weights", "Prepare"}));
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    op.in.x.dtype = op.out.x.dtype = tuttiInt32;
    EXPECT_TRUE(returns(tuttiInvalidArgument, op.run(r.handle))) << "numbers cannot be multiplied";
    EXPECT_TRUE(names(last_error(), {"in.x", "f32"}));
  });
}

// A row of one bf16 travels as one byte and a scale of four.
TEST_F(ExpertRows, RowsThatGrowWithTheirScalesHaveRoomOrAreRefused) {
  oracle::Problem p;
  p.topk = 1;
  p.max_tokens = 3000;
  p.num_experts = 1;
  p.ranks.resize(1);
  p.ranks[0] = {p.max_tokens, std::vector<int64_t>(3000, 0), {}};
  const Team team(1);
  team.run([&](int, tuttiComm_t comm) {
    for (const int64_t most : {2, 4, 5}) {
      tuttiEpGroupConfig_t config = ep_group_config(p);
      config.max_token_bytes = most;
      tuttiEpGroup_t group = nullptr;
      tuttiEpHandle_t handle = nullptr;
      const tuttiEpHandleConfig_t shape = ep_handle_config(p);
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpGroupCreate(&group, comm, &config)));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpHandleCreate(&handle, group, &shape, nullptr)));
      const tuttiEpTensor_t ids = ep_tensor(p.ranks[0].ids, {p.max_tokens, 1});
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(handle, &ids, nullptr, nullptr, nullptr)));
      const std::vector<float> x(3000);
      const std::vector<float> q(3000);
      EpDispatch op;
      op.config.quant = TUTTI_EP_QUANT_INT8_TOKEN;
      op.in.x = ep_tensor(x.data(), tuttiBfloat16, {p.max_tokens, 1});
      op.out.x = ep_tensor(q.data(), tuttiInt8, {p.max_tokens, 1});
      const std::vector<float> scale(3000, -7);
      op.out.scale = ep_tensor(scale, {p.max_tokens, 1});
      EXPECT_TRUE(returns(most < 5 ? tuttiInvalidArgument : tuttiSuccess, op.run(handle)));
      if (most < 5) {
        EXPECT_TRUE(names(last_error(), {"max_token_bytes", "got 5"}));
      }
      EXPECT_EQ(scale.back(), most < 5 ? -7 : 0);
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(handle)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupDestroy(group)));
    }
  });
}

}  // namespace
}  // namespace tutti
