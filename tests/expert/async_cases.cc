#include "tests/expert/async_cases.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>

#include "tests/api/team.h"
#include "tests/expert/stats_cases.h"

namespace tutti {

using oracle::Problem;

namespace {

constexpr int64_t kHidden = 5;
constexpr float kUntouched = -7;

// Ragged, in a layout by expert with zones side by side, so that rows have no gaps.
Problem batch_problem(int nranks, uint64_t seed) {
  Problem p;
  p.topk = 3;
  p.max_tokens = 40;
  p.num_experts = 2 * nranks + 1;
  p.layout = oracle::Layout::kExpertMajor;
  oracle::Random random{seed};
  p.ranks.resize(static_cast<size_t>(nranks));
  for (oracle::RankInput& rank : p.ranks) {
    rank.tokens = random.below(static_cast<int>(p.max_tokens) + 1);
    for (int64_t i = 0; i < rank.tokens * p.topk; ++i) {
      rank.ids.push_back(random.below(p.num_experts + 1) - 1);
    }
  }
  return p;
}

// One handle of a group with one routing, its rows, and what comes of them: small integers, so that
// sums are exact.
class Batch {
 public:
  Batch(tuttiEpGroup_t group, int nranks, int rank, uint64_t seed)
      : p_(batch_problem(nranks, seed)),
        want_(oracle::prepare(p_)),
        rank_(static_cast<size_t>(rank)) {
    const tuttiEpHandleConfig_t config = ep_handle_config(p_);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleCreate(&handle, group, &config, nullptr)));
    x_.resize(static_cast<size_t>(tokens() * kHidden));
    rows_.resize(static_cast<size_t>(layout().rows * kHidden));
    y_.resize(x_.size());
    next_round(0);
  }
  ~Batch() { EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(handle))); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  tuttiResult_t prepare(tuttiStream_t stream = nullptr) const {
    const oracle::RankInput& mine = p_.ranks[rank_];
    const tuttiEpTensor_t ids = ep_tensor(mine.ids, {mine.tokens, p_.topk});
    return tuttiEpPrepare(handle, &ids, nullptr, nullptr, stream);
  }
  tuttiResult_t dispatch(bool send_only, tuttiStream_t stream = nullptr) {
    EpDispatch op;
    op.config.send_only = send_only ? 1 : 0;
    op.in.x = ep_tensor(x_, {tokens(), kHidden});
    op.out.x = ep_tensor(rows_, {layout().rows, kHidden});
    return tuttiEpDispatch(handle, &op.in, &op.out, &op.config, stream);
  }
  tuttiResult_t combine(bool send_only, tuttiStream_t stream = nullptr) {
    EpCombine op;
    op.config.send_only = send_only ? 1 : 0;
    op.in.x = ep_tensor(rows_, {layout().rows, kHidden});
    op.out.x = ep_tensor(y_, {tokens(), kHidden});
    return tuttiEpCombine(handle, &op.in, &op.out, &op.config, stream);
  }
  tuttiResult_t complete(tuttiEpOp_t op, tuttiStream_t stream = nullptr) const {
    return tuttiEpComplete(handle, op, stream);
  }

  // New values for the next dispatch; what came before is forgotten.
  void next_round(int round) {
    for (size_t i = 0; i < x_.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      x_[i] = value(rank_, at / kHidden, at % kHidden, round);
    }
    round_ = round;
    std::fill(rows_.begin(), rows_.end(), kUntouched);
    std::fill(y_.begin(), y_.end(), kUntouched);
  }
  void expect_untouched() const {
    EXPECT_EQ(std::count(rows_.begin(), rows_.end(), kUntouched),
              static_cast<ptrdiff_t>(rows_.size()));
  }
  void expect_dispatched() const {
    for (size_t n = 0; n < layout().row.size(); ++n) {
      const oracle::Row& row = layout().row[n];
      for (int64_t h = 0; h < kHidden; ++h) {
        const float want = row.fill == oracle::Fill::kToken
                               ? value(static_cast<size_t>(row.src), row.token, h, round_)
                               : 0;
        ASSERT_EQ(rows_[n * kHidden + static_cast<size_t>(h)], want) << "row " << n;
      }
    }
  }
  // The experts' part: every row times two.
  void compute() {
    for (float& v : rows_) v *= 2;
  }
  // After compute(): each token as often as it was sent, times two.
  void expect_combined() const {
    const std::vector<int32_t>& kept = want_.routing.kept[rank_];
    for (size_t i = 0; i < y_.size(); ++i) {
      const auto first = static_cast<ptrdiff_t>(i / kHidden * static_cast<size_t>(p_.topk));
      const auto times = std::count_if(kept.begin() + first, kept.begin() + first + p_.topk,
                                       [](int32_t e) { return e >= 0; });
      ASSERT_EQ(y_[i], 2 * x_[i] * static_cast<float>(times)) << "element " << i;
    }
  }

  tuttiEpHandle_t handle = nullptr;

 private:
  static float value(size_t rank, int64_t token, int64_t h, int round) {
    return static_cast<float>(static_cast<int64_t>(rank) * 41 + token * 7 + h + round * 3 + 1);
  }
  const oracle::RankLayout& layout() const { return want_.layouts[rank_]; }
  int64_t tokens() const { return p_.ranks[rank_].tokens; }

  const Problem p_;
  const oracle::Prepared want_;
  const size_t rank_;
  int round_ = 0;
  std::vector<float> x_, rows_, y_;
};

// A group and some batches on it, for as long as it lives.
class Batches {
 public:
  Batches(tuttiComm_t comm, int nranks, int rank, int batches, int32_t max_inflight) {
    const Problem p = batch_problem(nranks, 1);
    tuttiEpGroupConfig_t config = ep_group_config(p);
    config.max_inflight = max_inflight;
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupCreate(&group, comm, &config)));
    for (int i = 0; i < batches; ++i) {
      all_.push_back(std::make_unique<Batch>(group, nranks, rank, static_cast<uint64_t>(i) + 1));
    }
  }
  ~Batches() {
    all_.clear();
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupDestroy(group)));
  }
  Batches(const Batches&) = delete;
  Batches& operator=(const Batches&) = delete;
  Batch& operator[](size_t i) const { return *all_[i]; }
  size_t size() const { return all_.size(); }
  void prepare() const {
    for (const auto& batch : all_) ASSERT_TRUE(returns(tuttiSuccess, batch->prepare()));
  }

  tuttiEpGroup_t group = nullptr;

 private:
  std::vector<std::unique_ptr<Batch>> all_;
};

// Refused, and without a trace.
void expect_one_too_many(Batch& batch) {
  EXPECT_TRUE(returns(tuttiInvalidUsage, batch.dispatch(true)));
  EXPECT_TRUE(names(last_error(), {"tuttiEpDispatch", "max_inflight", "3"}));
  EXPECT_TRUE(returns(tuttiInvalidUsage, batch.dispatch(false)));
  EXPECT_TRUE(returns(tuttiInvalidUsage, batch.prepare()));
  EXPECT_TRUE(returns(tuttiInvalidUsage, batch.complete(TUTTI_EP_OP_DISPATCH)));
  batch.expect_untouched();
}

}  // namespace

void expect_in_flight(const RunRanks& run, int nranks, bool reversed) {
  constexpr size_t kMost = 3;
  run(nranks, [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const Batches b(comm, nranks, rank, kMost + 1, kMost);
    b.prepare();
    for (int round = 0; round < 4; ++round) {
      for (size_t i = 0; i < b.size(); ++i) b[i].next_round(round);
      for (size_t i = 0; i < kMost; ++i) {
        ASSERT_TRUE(returns(tuttiSuccess, b[i].dispatch(true)));
      }
      expect_one_too_many(b[kMost]);
      for (size_t i = 0; i < kMost; ++i) {
        Batch& batch = b[reversed ? kMost - 1 - i : i];
        EXPECT_TRUE(returns(tuttiInvalidUsage, batch.complete(TUTTI_EP_OP_COMBINE)));
        EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiEpHandleDestroy(batch.handle)));
        EXPECT_TRUE(names(last_error(), {"tuttiEpHandleDestroy"}));
        EXPECT_TRUE(returns(tuttiInvalidUsage, batch.prepare()));
        ASSERT_TRUE(returns(tuttiSuccess, batch.complete(TUTTI_EP_OP_DISPATCH)));
        batch.expect_dispatched();
        batch.compute();
        ASSERT_TRUE(returns(tuttiSuccess, batch.combine(true)));
      }
      expect_one_too_many(b[kMost]);
      for (size_t i = 0; i < kMost; ++i) {
        Batch& batch = b[reversed ? i : kMost - 1 - i];
        ASSERT_TRUE(returns(tuttiSuccess, batch.complete(TUTTI_EP_OP_COMBINE)));
        batch.expect_combined();
      }
      // What was refused can be called again.
      ASSERT_TRUE(returns(tuttiSuccess, b[kMost].dispatch(true)));
      ASSERT_TRUE(returns(tuttiSuccess, b[kMost].complete(TUTTI_EP_OP_DISPATCH)));
      b[kMost].expect_dispatched();
      if (testing::Test::HasFailure()) return;
    }
  });
}

void expect_two_batches(const RunRanks& run, int nranks) {
  run(nranks, [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const Batches b(comm, nranks, rank, 2, 2);
    b.prepare();
    Batch* batches[] = {&b[0], &b[1]};
    ASSERT_TRUE(returns(tuttiSuccess, b[0].dispatch(true)));
    for (int round = 1; round <= 20; ++round) {
      auto& [a, other] = batches;
      if (round > 1) {
        ASSERT_TRUE(returns(tuttiSuccess, other->complete(TUTTI_EP_OP_COMBINE)));
        other->expect_combined();
        other->next_round(round);
      }
      ASSERT_TRUE(returns(tuttiSuccess, other->dispatch(true)));
      ASSERT_TRUE(returns(tuttiSuccess, a->complete(TUTTI_EP_OP_DISPATCH)));
      a->expect_dispatched();
      a->compute();
      ASSERT_TRUE(returns(tuttiSuccess, a->combine(true)));
      std::swap(a, other);
      if (testing::Test::HasFailure()) return;
    }
    ASSERT_TRUE(returns(tuttiSuccess, batches[1]->complete(TUTTI_EP_OP_COMBINE)));
    ASSERT_TRUE(returns(tuttiSuccess, batches[0]->complete(TUTTI_EP_OP_DISPATCH)));
    batches[0]->expect_dispatched();
  });
}

void expect_streams_in_flight(const RunRanks& run, int nranks) {
  run(nranks, [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const Batches b(comm, nranks, rank, 3, 2);
    tuttiStream_t streams[3] = {};
    for (tuttiStream_t& s : streams) ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamCreate(&s)));
    for (int round = 0; round < 5; ++round) {
      for (size_t i = 0; i < 3; ++i) b[i].next_round(round);
      // On one stream as many as one likes.
      for (size_t i = 0; i < 2; ++i) {
        ASSERT_TRUE(returns(tuttiSuccess, b[i].prepare(streams[i])));
        ASSERT_TRUE(returns(tuttiSuccess, b[i].dispatch(false, streams[i])));
      }
      EXPECT_TRUE(returns(tuttiInvalidUsage, b[2].prepare(streams[2])));
      EXPECT_TRUE(returns(tuttiInvalidUsage, b[2].prepare()));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(streams[1])));
      b[1].expect_dispatched();
      // Completed on the stream that is through: that one is under way again.
      ASSERT_TRUE(returns(tuttiSuccess, b[1].dispatch(true, streams[0])));
      EXPECT_TRUE(returns(tuttiInvalidUsage, b[2].prepare(streams[2])));
      ASSERT_TRUE(returns(tuttiSuccess, b[1].complete(TUTTI_EP_OP_DISPATCH, streams[1])));
      EXPECT_TRUE(returns(tuttiInvalidUsage, b[2].prepare(streams[2])));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(streams[1])));
      b[1].expect_dispatched();
      ASSERT_TRUE(returns(tuttiSuccess, b[2].prepare(streams[2])));
      ASSERT_TRUE(returns(tuttiSuccess, b[2].dispatch(false, streams[2])));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(streams[0])));
      ASSERT_TRUE(wait_until([&] { return tuttiStreamQuery(streams[2]) == tuttiSuccess; }));
      b[0].expect_dispatched();
      b[2].expect_dispatched();
      if (testing::Test::HasFailure()) return;
    }
    for (tuttiStream_t s : streams) EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamDestroy(s)));
  });
}

void expect_send_only_refused(const RunRanks& run) {
  const Problem p = refusal_problem();
  run(3, [&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const std::vector<float> x(static_cast<size_t>(p.max_tokens), 1);
    const std::vector<float> out(static_cast<size_t>(3 * p.max_tokens), 0);
    EpDispatch op;
    op.config.send_only = 1;
    op.in.x = ep_tensor(x, {p.max_tokens, 1});
    for (int round = 0; round < 3; ++round) {
      op.out.x = ep_tensor(out, {3 * p.max_tokens - (rank == 1 ? 1 : 0), 1});
      ASSERT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
      EXPECT_TRUE(returns(rank == 1 ? tuttiInvalidArgument : tuttiRemoteError,
                          tuttiEpComplete(r.handle, TUTTI_EP_OP_DISPATCH, nullptr)));
      op.out.x = ep_tensor(out, {3 * p.max_tokens, 1});
      ASSERT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpComplete(r.handle, TUTTI_EP_OP_DISPATCH, nullptr)));
      EXPECT_EQ(std::count(out.begin(), out.end(), 1.0f), static_cast<ptrdiff_t>(out.size()));
    }
  });
}

void expect_grouped_rows(const RunRanks& run, int nranks) {
  constexpr size_t kBatches = 4;
  run(nranks, [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const Batches b(comm, nranks, rank, kBatches, 2);
    b.prepare();
    for (int round = 0; round < 5; ++round) {
      for (size_t i = 0; i < kBatches; ++i) b[i].next_round(round);
      // Nothing of a group with a bad call happens.
      ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
      EXPECT_TRUE(returns(tuttiSuccess, b[0].dispatch(true)));
      EXPECT_TRUE(returns(tuttiSuccess, b[1].dispatch(true)));
      EXPECT_TRUE(returns(tuttiInvalidUsage, b[2].dispatch(true)));
      EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiGroupEnd()));
      for (size_t i = 0; i < kBatches; ++i) b[i].expect_untouched();
      // What is waited for at the end, and what is completed later.
      ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
      for (size_t i = 0; i < kBatches; ++i) {
        ASSERT_TRUE(returns(tuttiSuccess, b[i].dispatch(i == kBatches - 1)));
        b[i].expect_untouched();
      }
      EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
      for (size_t i = 0; i < kBatches - 1; ++i) {
        b[i].expect_dispatched();
        b[i].compute();
      }
      ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
      for (size_t i = 0; i < kBatches - 1; ++i) {
        ASSERT_TRUE(returns(tuttiSuccess, b[i].combine(false)));
      }
      EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
      for (size_t i = 0; i < kBatches - 1; ++i) b[i].expect_combined();
      ASSERT_TRUE(returns(tuttiSuccess, b[kBatches - 1].complete(TUTTI_EP_OP_DISPATCH)));
      b[kBatches - 1].expect_dispatched();
      if (testing::Test::HasFailure()) return;
    }
    EpStats stats(static_cast<size_t>(nranks), 1);
    ASSERT_TRUE(
        returns(tuttiSuccess, tuttiEpGetStats(b.group, &stats.counts, nullptr, nullptr, 0)));
    EXPECT_EQ(stats.counts.ops[TUTTI_EP_OP_DISPATCH], 5 * kBatches) << "each once";
    EXPECT_EQ(stats.counts.ops[TUTTI_EP_OP_COMBINE], 5 * (kBatches - 1)) << "each once";
  });
}

}  // namespace tutti
