// tuttiEpSetPlacement through the C API, on ranks as threads.
#include <atomic>
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/rows_cases.h"

namespace tutti {
namespace {

class ExpertPlacementApi : public ApiTest {
 protected:
  const RunRanks threads_ = [](int nranks, const std::function<void(int, tuttiComm_t)>& body) {
    Team(nranks).run(body);
  };
};

TEST_F(ExpertPlacementApi, EachAsTheOracleSays) {
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_placements(threads_, rows_problem(seed), seed);
    if (HasFailure()) return;
  }
}

TEST_F(ExpertPlacementApi, RefusalIsHeardByAll) { expect_placement_refused(threads_); }

// Other names for the experts, which stay where they are: zones change places, nothing else does.
TEST_F(ExpertPlacementApi, RelabelledExpertsPermuteZones) {
  oracle::Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  constexpr int32_t kOther[] = {3, 0, 2, 1};  // names, by old name
  Team(2).run([&](int rank, tuttiComm_t comm) {
    oracle::Problem named = p;
    named.expert_rank.resize(4);
    for (int32_t e = 0; e < 4; ++e) named.expert_rank[static_cast<size_t>(kOther[e])] = e / 2;
    for (oracle::RankInput& input : named.ranks) {
      for (int64_t& id : input.ids) id = id < 0 ? id : kOther[id];
    }
    const EpRank r(comm, p);
    const auto rows_of = [&](const oracle::Problem& of, std::vector<int32_t>* out,
                             std::vector<int64_t>* offset) {
      const oracle::RankInput& input = of.ranks[r.rank];
      std::vector<int32_t> x(input.ids.size() / 2);
      for (size_t t = 0; t < x.size(); ++t) x[t] = static_cast<int32_t>(100 * r.rank + t);
      tuttiEpLayoutInfo_t info = {};
      info.hdr = TUTTI_EP_HDR(tuttiEpLayoutInfo_t);
      info.expert_offset = ep_tensor(*offset, {3});
      const tuttiEpTensor_t ids = ep_tensor(input.ids, {input.tokens, of.topk});
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(r.handle, &ids, nullptr, &info, nullptr)));
      EpDispatch op;
      op.in.x = ep_tensor(x, {input.tokens, 1});
      op.out.x = ep_tensor(*out, {8, 1});
      ASSERT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
    };
    std::vector<int32_t> before(8, -1);
    std::vector<int32_t> after(8, -1);
    std::vector<int64_t> first_before(3);
    std::vector<int64_t> first_after(3);
    rows_of(p, &before, &first_before);
    ASSERT_TRUE(returns(tuttiSuccess,
                        tuttiEpSetPlacement(r.group, named.expert_rank.data(), nullptr, nullptr)));
    rows_of(named, &after, &first_after);
    const auto zone = [](const std::vector<int32_t>& rows, const std::vector<int64_t>& first,
                         int i) {
      return std::vector<int32_t>(rows.begin() + first[static_cast<size_t>(i)],
                                  rows.begin() + first[static_cast<size_t>(i) + 1]);
    };
    // Experts 0 and 1 are 3 and 0 now, 2 and 3 are 2 and 1: both ranks have them the other way.
    EXPECT_EQ(zone(before, first_before, 0), zone(after, first_after, 1));
    EXPECT_EQ(zone(before, first_before, 1), zone(after, first_after, 0));
    EXPECT_NE(before, after) << rank;
  });
}

TEST_F(ExpertPlacementApi, RefusedInsideAGroup) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  Team(2).run([&](int, tuttiComm_t comm) {
    const EpRank r(comm, p);
    const int32_t owners[] = {0, 1, 0, 1};
    ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiEpSetPlacement(r.group, owners, nullptr, nullptr)));
    EXPECT_TRUE(names(last_error(), {"tuttiEpSetPlacement", "inside a group"}));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiGroupEnd()));
  });
}

// Rank 0 has a Prepare pending, for which rank 1 waits until rank 0 is in its next call: in time,
// but for the odd round in which that thread stands still there.
TEST_F(ExpertPlacementApi, RefusedWhileOperationsArePending) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  std::atomic<int> pending{0};
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    const int32_t owners[] = {0, 1, 0, 1};
    tuttiStream_t stream = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamCreate(&stream)));
    const tuttiEpTensor_t ids = ep_tensor(r.input().ids, {r.input().tokens, p.topk});
    const auto set = [&] { return tuttiEpSetPlacement(r.group, owners, nullptr, nullptr); };
    tuttiResult_t result = tuttiSuccess;
    for (int round = 1; result == tuttiSuccess; ++round) {
      if (rank == 1) {
        ASSERT_TRUE(wait_until([&] { return pending.load() == round && is_busy(team[0]); }));
      }
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(r.handle, &ids, nullptr, nullptr,
                                                       rank == 0 ? stream : nullptr)));
      if (rank == 0) pending.store(round);
      result = patiently(set);
    }
    EXPECT_TRUE(returns(rank == 0 ? tuttiInvalidUsage : tuttiRemoteError, result));
    EXPECT_TRUE(names(last_error(), {rank == 0 ? "pending" : "rank 0"}));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
    EXPECT_TRUE(returns(tuttiSuccess, set()));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamDestroy(stream)));
  });
}

TEST_F(ExpertPlacementApi, OnAStream) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  Team(2).run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    const int32_t owners[] = {1, 1, 1, 1};
    tuttiStream_t stream = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamCreate(&stream)));
    int64_t sum = rank;
    ASSERT_TRUE(
        returns(tuttiSuccess, tuttiAllReduce(&sum, &sum, 1, tuttiInt64, tuttiSum, comm, stream)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpSetPlacement(r.group, owners, nullptr, stream)));
    EXPECT_EQ(sum, 1) << "what the stream holds comes first";
    EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_EQ(r.info().recv_rows, rank == 1 ? 4 : 0);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamDestroy(stream)));
  });
}

}  // namespace
}  // namespace tutti
