// One of three ranks is wrong: the others hear of it, and what follows is right.
#include <algorithm>
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/rows_cases.h"

namespace tutti {

using oracle::Problem;

// All ranks have rows for each other, several slices of them.
Problem refusal_problem() {
  Problem p;
  p.topk = 3;
  p.max_tokens = 700;
  p.num_experts = 3;
  p.layout = oracle::Layout::kExpertMajor;
  p.ranks.resize(3);
  for (oracle::RankInput& rank : p.ranks) {
    rank.tokens = p.max_tokens;
    for (int64_t t = 0; t < rank.tokens; ++t) {
      for (int64_t k = 0; k < 3; ++k) {
        rank.ids.push_back(k);
        rank.weights.push_back(1);
      }
    }
  }
  return p;
}

namespace {
constexpr int64_t kHidden = 6;
}  // namespace

namespace {

void expect_dispatch_refused(const RunRanks& run, const Problem& p) {
  run(3, [&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const std::vector<float> x(static_cast<size_t>(p.max_tokens * kHidden), 1);
    std::vector<float> out(static_cast<size_t>(3 * p.max_tokens * kHidden), 0);
    const std::vector<float> scales(static_cast<size_t>(3 * p.max_tokens), 0);
    EpDispatch right;
    right.in.x = ep_tensor(x, {p.max_tokens, kHidden});
    right.out.x = ep_tensor(out, {3 * p.max_tokens, kHidden});
    const auto expect = [&](tuttiResult_t here, tuttiResult_t there, const EpDispatch& wrong) {
      const EpDispatch& op = rank == 1 ? wrong : right;
      EXPECT_TRUE(returns(rank == 1 ? here : there, op.run(r.handle)));
      std::fill(out.begin(), out.end(), 0.0f);
      ASSERT_TRUE(returns(tuttiSuccess, right.run(r.handle)));
      EXPECT_EQ(std::count(out.begin(), out.end(), 1.0f), static_cast<ptrdiff_t>(out.size()));
    };
    EpDispatch wrong = right;
    wrong.out.x = ep_tensor(out, {3 * p.max_tokens - 1, kHidden});  // too short for what comes
    expect(tuttiInvalidArgument, tuttiRemoteError, wrong);
    wrong = right;
    wrong.in.x.data = nullptr;
    expect(tuttiInvalidArgument, tuttiRemoteError, wrong);
    wrong = right;
    wrong.out.x.dtype = tuttiInt32;
    expect(tuttiInvalidArgument, tuttiRemoteError, wrong);
    wrong = right;
    wrong.in.x.dim[0] = p.max_tokens - 1;
    expect(tuttiInvalidArgument, tuttiRemoteError, wrong);
    // The same bytes of another type; and other rows.
    wrong = right;
    wrong.in.x.dtype = wrong.out.x.dtype = tuttiInt32;
    expect(tuttiInvalidArgument, tuttiInvalidArgument, wrong);
    wrong = right;
    wrong.in.x.dim[1] = wrong.out.x.dim[1] = kHidden - 1;
    expect(tuttiInvalidArgument, tuttiInvalidArgument, wrong);
  });
}

// On one node, and where rows are handed on.
void on_one_node_and_two(const RunRanks& run, void (*expect)(const RunRanks&, const Problem&)) {
  Problem p = refusal_problem();
  expect(run, p);
  p.ranks_per_node = 2;
  expect(run, p);
}

}  // namespace

void expect_dispatch_refused(const RunRanks& run) {
  on_one_node_and_two(run, expect_dispatch_refused);
}

namespace {

void expect_combine_refused(const RunRanks& run, const Problem& p) {
  run(3, [&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const std::vector<float> rows(static_cast<size_t>(3 * p.max_tokens * kHidden), 1);
    std::vector<float> y(static_cast<size_t>(p.max_tokens * kHidden), 0);
    for (const tuttiEpReduce_t reduce :
         {TUTTI_EP_REDUCE_RANK, TUTTI_EP_REDUCE_SLOT, TUTTI_EP_REDUCE_NODE}) {
      EpCombine right;
      right.config.reduce = reduce;
      right.in.x = ep_tensor(rows, {3 * p.max_tokens, kHidden});
      right.out.x = ep_tensor(y, {p.max_tokens, kHidden});
      const auto expect = [&](tuttiResult_t here, tuttiResult_t there, const EpCombine& wrong) {
        const EpCombine& op = rank == 2 ? wrong : right;
        EXPECT_TRUE(returns(rank == 2 ? here : there, op.run(r.handle)));
        ASSERT_TRUE(returns(tuttiSuccess, right.run(r.handle)));
        EXPECT_EQ(std::count(y.begin(), y.end(), 3.0f), static_cast<ptrdiff_t>(y.size()));
      };
      EpCombine wrong = right;
      wrong.in.x.dim[0] = 5;
      expect(tuttiInvalidArgument, tuttiRemoteError, wrong);
      wrong = right;
      wrong.out.x.dim[0] = 5;
      expect(tuttiInvalidArgument, tuttiRemoteError, wrong);
      wrong = right;
      wrong.config.partial = tuttiBool;
      expect(tuttiInvalidArgument, tuttiRemoteError, wrong);
      wrong = right;
      wrong.in.x.dtype = tuttiBfloat16;
      expect(tuttiInvalidArgument, tuttiInvalidArgument, wrong);
    }
  });
}

}  // namespace

void expect_combine_refused(const RunRanks& run) {
  on_one_node_and_two(run, expect_combine_refused);
}

}  // namespace tutti
