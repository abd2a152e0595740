// tuttiEpGetStats on ranks as threads.
#include <atomic>
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/stats_cases.h"

namespace tutti {
namespace {

class ExpertStats : public ApiTest {
 protected:
  const RunRanks threads_ = [](int nranks, const std::function<void(int, tuttiComm_t)>& body) {
    Team(nranks).run(body);
  };
};

TEST_F(ExpertStats, RowsAsTheOracleCounts) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_traffic(threads_, rows_problem(seed), seed);
    if (HasFailure()) return;
  }
}

// Two nodes of two ranks; the bytes that docs/expert.md says.
TEST_F(ExpertStats, WhatPrepareTellsIsMetadata) {
  oracle::Problem p;
  p.topk = 2;
  p.max_tokens = 2;
  p.num_experts = 8;
  p.ranks_per_node = 2;
  p.ranks.resize(4);
  for (oracle::RankInput& rank : p.ranks) rank = {2, {0, 5, 0, -1}, {1, 1, 1, 1}};
  threads_(4, [&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p, TUTTI_EP_ALGO_DIRECT);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    EpStats got(4, 2);
    ASSERT_TRUE(returns(tuttiSuccess, got.read(r.group, false)));
    // Counts, how many were wanted of two experts, and what goes to ranks 0 (two) and 2 (one).
    constexpr uint64_t kAll = (56 + 4 * (8 + 4) + 4 + 7) / 8 * 8 + 2 * 4;
    uint64_t expected[3] = {kAll, kAll, 2 * kAll};
    const auto tier = [rank](int to) { return to == rank ? 0 : to / 2 == rank / 2 ? 1 : 2; };
    expected[tier(0)] += 2 * 12;
    expected[tier(2)] += 12;
    // Of rows to the other node, which of its ranks need them.
    expected[2] += rank / 2 == 0 ? 4 : 2 * 4;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(got.counts.meta_bytes[i], expected[i]) << "tier " << i;
    EXPECT_EQ(got.counts.ops[0] + got.counts.ops[1] + got.counts.dropped + got.counts.timeouts, 0u);
  });
}

// Rows that everybody has for everybody, some time later on rank 1.
TEST_F(ExpertStats, AWaitIsCountedForWhoIsLate) {
  constexpr int64_t kLateNs = 30'000'000;
  constexpr int64_t kHidden = 6;
  const oracle::Problem p = refusal_problem();
  std::atomic<int64_t> called_ns{0};
  threads_(3, [&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p, TUTTI_EP_ALGO_DIRECT);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const std::vector<float> x(static_cast<size_t>(p.max_tokens * kHidden), 1);
    const std::vector<float> out(static_cast<size_t>(3 * p.max_tokens * kHidden), 0);
    EpDispatch op;
    op.in.x = ep_tensor(x, {p.max_tokens, kHidden});
    op.out.x = ep_tensor(out, {3 * p.max_tokens, kHidden});
    EpStats got(3, 1);
    ASSERT_TRUE(returns(tuttiSuccess, got.read(r.group, true)));
    const int64_t begin_ns = now_ns();
    if (rank == 0) called_ns = begin_ns;
    if (rank == 1) {
      ASSERT_TRUE(wait_until([&] { return called_ns != 0 && now_ns() > called_ns + kLateNs; }));
    }
    ASSERT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
    const auto took_ns = static_cast<uint64_t>(now_ns() - begin_ns);
    ASSERT_TRUE(returns(tuttiSuccess, got.read(r.group, true)));
    EXPECT_EQ(got.peer_wait_ns[static_cast<size_t>(rank)], 0u);
    EXPECT_LE(got.peer_wait_ns[0] + got.peer_wait_ns[1] + got.peer_wait_ns[2], took_ns);
    if (rank == 0) {
      EXPECT_GE(got.peer_wait_ns[1], uint64_t{kLateNs} / 2);
    }
    ASSERT_TRUE(returns(tuttiSuccess, got.read(r.group, false)));
    EXPECT_EQ(got.peer_wait_ns[1], 0u) << "the last call has reset it";
  });
}

// Of a peer that never comes: the group says so after its end.
TEST_F(ExpertStats, ATimeoutIsCounted) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2, 0.2);
  std::atomic<bool> over{false};
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.created));
    if (rank == 1) {
      ASSERT_TRUE(wait_until([&] { return over.load(); }));
      return;
    }
    EXPECT_TRUE(returns(tuttiTimeout, r.prepare()));
    over = true;
    EpStats got(2, 2);
    ASSERT_TRUE(returns(tuttiSuccess, got.read(r.group, false)));
    EXPECT_EQ(got.counts.timeouts, 1u);
    EXPECT_GE(got.peer_wait_ns[1], 100'000'000u);
  });
}

// While operations on a stream are under way in another thread.
TEST_F(ExpertStats, MayBeAskedAtAnyTime) {
  constexpr int64_t kHidden = 6;
  constexpr uint64_t kCalls = 20;
  const oracle::Problem p = refusal_problem();
  threads_(3, [&](int, tuttiComm_t comm) {
    const EpRank r(comm, p, TUTTI_EP_ALGO_DIRECT);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const std::vector<float> x(static_cast<size_t>(p.max_tokens * kHidden), 1);
    const std::vector<float> out(static_cast<size_t>(3 * p.max_tokens * kHidden), 0);
    EpDispatch op;
    op.in.x = ep_tensor(x, {p.max_tokens, kHidden});
    op.out.x = ep_tensor(out, {3 * p.max_tokens, kHidden});
    tuttiStream_t stream = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamCreate(&stream)));
    for (uint64_t i = 0; i < kCalls; ++i) {
      ASSERT_TRUE(
          returns(tuttiSuccess, tuttiEpDispatch(r.handle, &op.in, &op.out, &op.config, stream)));
    }
    uint64_t ops = 0;
    uint64_t rows = 0;
    EXPECT_TRUE(wait_until([&] {
      EpStats got(3, 1);
      EXPECT_TRUE(returns(tuttiSuccess, got.read(r.group, true)));
      ops += got.counts.ops[TUTTI_EP_OP_DISPATCH];
      rows += got.counts.rows[1];
      return ops == kCalls;
    }));
    EXPECT_EQ(rows, kCalls * 2 * static_cast<uint64_t>(p.max_tokens));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamDestroy(stream)));
  });
}

// An operation that fails has sent nothing that counts.
TEST_F(ExpertStats, FailuresAreNoOperations) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  threads_(2, [&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const std::vector<float> x(16);
    const std::vector<float> out(16);
    EpDispatch op;
    op.in.x = ep_tensor(x, {r.input().tokens, 2});
    op.out.x = ep_tensor(out, {rank == 0 ? 1 : 8, 2});
    EXPECT_TRUE(returns(rank == 0 ? tuttiInvalidArgument : tuttiRemoteError, op.run(r.handle)));
    EpStats got(2, 2);
    ASSERT_TRUE(returns(tuttiSuccess, got.read(r.group, false)));
    EXPECT_EQ(got.counts.ops[TUTTI_EP_OP_DISPATCH], 0u);
    EXPECT_EQ(got.counts.rows[0] + got.counts.rows[1], 0u);
  });
}

TEST_F(ExpertStats, WhatIsWrongIsSaid) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  threads_(2, [&](int, tuttiComm_t comm) {
    const EpRank r(comm, p);
    tuttiEpStats_t stats = {};
    stats.hdr = TUTTI_EP_HDR(tuttiEpStats_t);
    EXPECT_TRUE(
        returns(tuttiInvalidArgument, tuttiEpGetStats(nullptr, &stats, nullptr, nullptr, 0)));
    EXPECT_TRUE(
        returns(tuttiInvalidArgument, tuttiEpGetStats(r.group, nullptr, nullptr, nullptr, 0)));
    EXPECT_TRUE(names(last_error(), {"tuttiEpGetStats", "stats", "NULL"}));
    stats.hdr.size -= 8;
    EXPECT_TRUE(
        returns(tuttiInvalidArgument, tuttiEpGetStats(r.group, &stats, nullptr, nullptr, 0)));
    EXPECT_TRUE(names(last_error(), {"tuttiEpGetStats", "TUTTI_EP_HDR"}));
    stats.hdr = TUTTI_EP_HDR(tuttiEpStats_t);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGetStats(r.group, &stats, nullptr, nullptr, 0)));
    EXPECT_EQ(stats.hdr.size, sizeof(tuttiEpStats_t));
  });
}

}  // namespace
}  // namespace tutti
