// Masks from their proposal to the return of the rank, on three ranks.
#include <algorithm>
#include <gtest/gtest.h>
#include <utility>

#include "tests/api/team.h"
#include "tests/expert/rows_cases.h"

namespace tutti {

using oracle::Problem;

namespace {

using Mask = std::vector<uint8_t>;

// As many tokens as ranks, each with an assignment on every rank: rank 2 leaves a third less.
Problem masks_problem() {
  Problem p;
  p.topk = 3;
  p.max_tokens = 5;
  p.num_experts = 6;
  p.layout = oracle::Layout::kExpertMajor;
  p.ranks.resize(3);
  for (oracle::RankInput& rank : p.ranks) {
    rank.tokens = p.max_tokens;
    for (int64_t t = 0; t < rank.tokens; ++t) {
      for (const int64_t id : {0, 2, 5}) {
        rank.ids.push_back(id);
        rank.weights.push_back(1);
      }
    }
  }
  return p;
}

void expect_masks(const EpRank& r, const Mask& masked, uint64_t epoch) {
  Mask got(masked.size(), 7);
  uint64_t got_epoch = 77;
  ASSERT_TRUE(returns(tuttiSuccess, tuttiEpMaskGet(r.group, got.data(), &got_epoch)));
  EXPECT_EQ(got, masked);
  EXPECT_EQ(got_epoch, epoch);
}

// Rows of ones there and back: how many came, and what each token gets.
void expect_moved(const EpRank& r, tuttiEpHandle_t handle, int64_t rows, float sum) {
  const int64_t tokens = r.input().tokens;
  const std::vector<float> x(static_cast<size_t>(tokens), 1);
  std::vector<float> there(50, 0);
  std::vector<float> back(static_cast<size_t>(tokens), -7);
  EpDispatch dispatch;
  dispatch.in.x = ep_tensor(x, {tokens, 1});
  dispatch.out.x = ep_tensor(there, {50, 1});
  ASSERT_TRUE(returns(tuttiSuccess, dispatch.run(handle)));
  EXPECT_EQ(std::count(there.begin(), there.end(), 1.0f), rows);
  EpCombine combine;
  combine.in.x = dispatch.out.x;
  combine.out.x = ep_tensor(back, {tokens, 1});
  ASSERT_TRUE(returns(tuttiSuccess, combine.run(handle)));
  EXPECT_EQ(std::count(back.begin(), back.end(), sum), tokens);
}

// Another handle of the rank's group.
tuttiEpHandle_t make_handle(const EpRank& r) {
  const tuttiEpHandleConfig_t config = ep_handle_config(r.problem);
  tuttiEpHandle_t handle = nullptr;
  EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleCreate(&handle, r.group, &config, nullptr)));
  return handle;
}

}  // namespace

void expect_masks_agreed(const RunRanks& run) {
  const Problem p = masks_problem();
  run(3, [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_EQ(r.info().mask_epoch, 0u);
    expect_masks(r, {0, 0, 0}, 0);
    const tuttiEpHandle_t before = std::exchange(r.handle, make_handle(r));
    if (rank == 1) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpMaskSet(r.group, 2, 1)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpMaskSet(r.group, 0, 1)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpMaskSet(r.group, 0, 0))) << "not agreed on";
    }
    expect_masks(r, {0, 0, static_cast<uint8_t>(rank == 1 ? 1 : 0)}, 0);
    for (int round = 0; round < 2; ++round) {
      ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
      EXPECT_EQ(r.info().mask_epoch, 1u);
      EXPECT_EQ(r.info().recv_rows, rank == 2 ? 0 : 10);
      EXPECT_EQ(r.info().num_tokens, 5);
      expect_masks(r, {0, 0, 1}, 1);
      expect_moved(r, r.handle, rank == 2 ? 0 : 10, rank == 2 ? 0 : 2);
    }
    // A handle goes by what was agreed on when it was prepared.
    expect_moved(r, before, 15, 3);
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiEpMaskSet(r.group, 2, 0)));
    EXPECT_TRUE(names(last_error(), {"rank 2", "tuttiEpReadmit"}));
    // Each another one, the masked rank too; then nobody is left.
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpMaskSet(r.group, (rank + 1) % 3, 1)));
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_EQ(r.info().mask_epoch, 2u);
    expect_masks(r, {1, 1, 1}, 2);
    expect_moved(r, r.handle, 0, 0);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(before)));
  });
}

void expect_masked_rank_is_alone(const RunRanks& run) {
  const Problem p = masks_problem();
  run(3, [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const EpRank r(comm, p);
    if (rank == 0) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpMaskSet(r.group, 2, 1)));
    }
    const auto prepare = [&](int64_t id, tuttiDataType_t dtype) {
      std::vector<int64_t> ids = r.input().ids;
      ids.back() = id;
      tuttiEpTensor_t tensor = ep_tensor(ids, {5, 3});
      tensor.dtype = dtype;
      return tuttiEpPrepare(r.handle, &tensor, nullptr, nullptr, nullptr);
    };
    const std::vector<float> x(50, 1);
    EpDispatch op;
    op.in.x = ep_tensor(x, {5, 1});
    op.out.x = ep_tensor(x, {50, 1});
    // In the Prepare that masks it, and in the next one: its ids are nobody's business.
    for (int round = 0; round < 2; ++round) {
      EXPECT_TRUE(returns(tuttiSuccess, prepare(rank == 2 ? 6 : 5, tuttiInt64)));
      EXPECT_EQ(r.info().recv_rows, rank == 2 ? 0 : 10);
      expect_moved(r, r.handle, rank == 2 ? 0 : 10, rank == 2 ? 0 : 2);
    }
    // Its own mistakes are its own.
    const auto wrong = rank == 2 ? tuttiInvalidArgument : tuttiSuccess;
    EXPECT_TRUE(returns(wrong, prepare(5, rank == 2 ? tuttiFloat32 : tuttiInt64)));
    EXPECT_TRUE(returns(rank == 2 ? tuttiInvalidUsage : tuttiSuccess, op.run(r.handle)));
    EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
    EpDispatch bad = op;
    if (rank == 2) bad.in.x.dim[0] = 4;
    EXPECT_TRUE(returns(wrong, bad.run(r.handle)));
    // And the others' theirs: without them it has nothing to do.
    EXPECT_TRUE(returns(rank == 0   ? tuttiInvalidArgument
                        : rank == 1 ? tuttiRemoteError
                                    : tuttiSuccess,
                        prepare(rank == 0 ? 6 : 5, tuttiInt64)));
    EXPECT_TRUE(returns(rank == 2 ? tuttiSuccess : tuttiInvalidUsage, op.run(r.handle)));
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    expect_moved(r, r.handle, rank == 2 ? 0 : 10, rank == 2 ? 0 : 2);
  });
}

void expect_readmitted(const RunRanks& run) {
  const Problem p = masks_problem();
  run(3, [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    EpRank r(comm, p);
    if (rank == 0) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpMaskSet(r.group, 1, 1)));
    }
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_TRUE(returns(rank == 2 ? tuttiInvalidArgument : tuttiRemoteError,
                        tuttiEpReadmit(r.group, rank == 2 ? -3 : 1, nullptr)));
    // Ranks that mean different ones, of which one is not masked, and both are.
    EXPECT_TRUE(returns(rank == 2 ? tuttiInvalidUsage : tuttiRemoteError,
                        tuttiEpReadmit(r.group, rank == 2 ? 0 : 1, nullptr)));
    if (rank == 2) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpMaskSet(r.group, 0, 1)));
    }
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    expect_masks(r, {1, 1, 0}, 2);
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpReadmit(r.group, rank == 2 ? 0 : 1, nullptr)));
    EXPECT_TRUE(names(last_error(), {"rank", "same on all ranks"}));
    expect_masks(r, {1, 1, 0}, 2);
    const tuttiEpHandle_t before = std::exchange(r.handle, make_handle(r));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpReadmit(r.group, 0, nullptr)));
    expect_masks(r, {0, 1, 0}, 3);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_EQ(r.info().mask_epoch, 3u);
    expect_moved(r, r.handle, rank == 1 ? 0 : 10, rank == 1 ? 0 : 2);
    expect_moved(r, before, rank == 2 ? 5 : 0, rank == 2 ? 1 : 0);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpReadmit(r.group, 1, nullptr)));
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_EQ(r.info().mask_epoch, 4u);
    expect_moved(r, r.handle, 15, 3);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(before)));
  });
}

}  // namespace tutti
