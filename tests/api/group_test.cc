// Groups: whatever is in them runs as one, in no order that could deadlock; or not at all.
#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <string>

#include "tests/api/team.h"

namespace tutti {
namespace {

using GroupTest = ApiTest;

TEST_F(GroupTest, EmptyAndUnmatched) {
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiGroupEnd()));
  EXPECT_TRUE(names(last_error(), {"tuttiGroupEnd without tuttiGroupStart"}));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiGroupEnd()));
}

TEST_F(GroupTest, OneThreadDrivesAllRanks) {
  for (int n : {1, 2, 3, 8}) {
    Team team(n);
    std::vector<int32_t> in(static_cast<size_t>(n) * 3000, 1);
    std::vector<int32_t> sum(in.size(), 0);
    std::vector<int32_t> all(in.size() * static_cast<size_t>(n), 0);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    for (int r = 0; r < n; ++r) {
      const size_t at = static_cast<size_t>(r) * 3000;
      EXPECT_TRUE(returns(tuttiSuccess, tuttiAllReduce(&in[at], &sum[at], 3000, tuttiInt32,
                                                       tuttiSum, team[r], nullptr)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiAllGather(&in[at], &all[at * static_cast<size_t>(n)],
                                                       3000, tuttiInt32, team[r], nullptr)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(team[r], nullptr)));
    }
    EXPECT_EQ(sum[0], 0) << "nothing runs before the end";
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
    EXPECT_TRUE(std::all_of(sum.begin(), sum.end(), [n](int32_t v) { return v == n; }));
    EXPECT_TRUE(std::all_of(all.begin(), all.end(), [](int32_t v) { return v == 1; }));
  }
}

TEST_F(GroupTest, NestedGroupsEndWithTheOuterOne) {
  Team team(2);
  int32_t in[2] = {1, 2};
  int32_t out[2] = {0, 0};
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  for (int r = 0; r < 2; ++r) {
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    EXPECT_TRUE(returns(
        tuttiSuccess, tuttiAllReduce(&in[r], &out[r], 1, tuttiInt32, tuttiSum, team[r], nullptr)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
    EXPECT_EQ(out[0], 0);
  }
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
  EXPECT_EQ(out[0], 3);
  EXPECT_EQ(out[1], 3);
}

TEST_F(GroupTest, ToOneself) {
  Team team(2);
  std::vector<int32_t> from(5000, 7);
  std::vector<int32_t> to(5000, 0);
  int source = -5;
  for (bool receive_first : {false, true}) {
    std::fill(to.begin(), to.end(), 0);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    for (int half = 0; half < 2; ++half) {
      if ((half == 0) == receive_first) {
        EXPECT_TRUE(returns(tuttiSuccess, tuttiRecvTag(to.data(), to.size(), tuttiInt32, 0, 3,
                                                       &source, team[0], nullptr)));
      } else {
        EXPECT_TRUE(returns(tuttiSuccess, tuttiSendTag(from.data(), from.size(), tuttiInt32, 0, 3,
                                                       team[0], nullptr)));
      }
    }
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
    EXPECT_EQ(to, from);
    EXPECT_EQ(source, 0);
  }
  // Of another length or type: named, and the communicator is at its end.
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiSend(from.data(), 5, tuttiInt32, 0, team[0], nullptr)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiRecv(to.data(), 6, tuttiInt32, 0, team[0], nullptr)));
  EXPECT_TRUE(returns(tuttiMismatch, tuttiGroupEnd()));
  EXPECT_TRUE(names(last_error(), {"rank 0", "6 i32", "5 i32"}));
}

// Each rank names collectives and messages of several communicators in an order of its own.
TEST_F(GroupTest, MixedOrdersOfCommunicators) {
  constexpr int kRanks = 4;
  constexpr int kTeams = 3;
  std::vector<std::unique_ptr<Team>> teams;
  for (int i = 0; i < kTeams; ++i) teams.push_back(std::make_unique<Team>(kRanks));
  for (size_t count : {size_t{1}, size_t{5000}}) {
    on_ranks(kRanks, [&](int rank) {
      std::mt19937 random(static_cast<unsigned>(rank) * 77 + 5);
      for (int round = 0; round < 20; ++round) {
        std::vector<std::vector<int32_t>> sums(kTeams, std::vector<int32_t>(count, rank));
        std::vector<std::vector<int32_t>> got(kTeams, std::vector<int32_t>(count, -1));
        const std::vector<int32_t> mine(count, rank);
        std::vector<int> jobs(kTeams * 3);
        for (int i = 0; i < kTeams * 3; ++i) jobs[static_cast<size_t>(i)] = i;
        std::shuffle(jobs.begin(), jobs.end(), random);
        ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
        for (int job : jobs) {
          const auto t = static_cast<size_t>(job / 3);
          const tuttiComm_t comm = (*teams[t])[rank];
          tuttiResult_t result = tuttiSuccess;
          if (job % 3 == 0) {
            result = tuttiAllReduce(sums[t].data(), sums[t].data(), count, tuttiInt32, tuttiSum,
                                    comm, nullptr);
          } else if (job % 3 == 1) {
            result = tuttiSend(mine.data(), count, tuttiInt32, (rank + 1) % kRanks, comm, nullptr);
          } else {
            result = tuttiRecv(got[t].data(), count, tuttiInt32, (rank + kRanks - 1) % kRanks, comm,
                               nullptr);
          }
          ASSERT_TRUE(returns(tuttiSuccess, result));
        }
        ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
        for (int t = 0; t < kTeams; ++t) {
          EXPECT_EQ(sums[static_cast<size_t>(t)].back(), kRanks * (kRanks - 1) / 2);
          EXPECT_EQ(got[static_cast<size_t>(t)].back(), (rank + kRanks - 1) % kRanks);
        }
      }
    });
  }
}

TEST_F(GroupTest, ManyCommunicators) {
  constexpr int kRanks = 8;
  constexpr int kTeams = 64;
  std::vector<std::unique_ptr<Team>> teams;
  for (int i = 0; i < kTeams; ++i) teams.push_back(std::make_unique<Team>(kRanks));
  on_ranks(kRanks, [&](int rank) {
    std::mt19937 random(static_cast<unsigned>(rank) + 1);
    std::vector<int> order(kTeams);
    for (int i = 0; i < kTeams; ++i) order[static_cast<size_t>(i)] = i;
    for (int round = 0; round < 3; ++round) {
      std::shuffle(order.begin(), order.end(), random);
      std::vector<int32_t> values(kTeams, rank);
      ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
      for (int t : order) {
        int32_t* value = &values[static_cast<size_t>(t)];
        ASSERT_TRUE(
            returns(tuttiSuccess, tuttiAllReduce(value, value, 1, tuttiInt32, tuttiSum,
                                                 (*teams[static_cast<size_t>(t)])[rank], nullptr)));
      }
      ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
      for (int32_t value : values) EXPECT_EQ(value, kRanks * (kRanks - 1) / 2);
    }
  });
}

// A bad call: nothing of the group runs, and no rank loses count.
TEST_F(GroupTest, ErrorInsideRunsNothing) {
  Team team(2);
  Team other(2);
  for (int round = 0; round < 3; ++round) {
    int32_t in = 5;
    int32_t out = -1;
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    EXPECT_TRUE(returns(tuttiSuccess,
                        tuttiAllReduce(&in, &out, 1, tuttiInt32, tuttiSum, team[0], nullptr)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiSend(&in, 1, tuttiInt32, 1, other[0], nullptr)));
    EXPECT_TRUE(returns(tuttiInvalidArgument,
                        tuttiBroadcast(&in, &out, 1, tuttiInt32, 9, other[0], nullptr)));
    EXPECT_TRUE(returns(tuttiSuccess,
                        tuttiAllReduce(&in, &out, 1, tuttiInt32, tuttiSum, other[0], nullptr)));
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiGroupEnd()));
    EXPECT_TRUE(
        names(last_error(), {"tuttiBroadcast", "rank 0 of 2", "root: expected 0..1, got 9"}));
    EXPECT_EQ(out, -1);
    team.expect_usable();
    other.expect_usable();
    // The send did not happen either: the next one is the first.
    on_ranks(2, [&](int rank) {
      int32_t value = rank == 0 ? 77 : 0;
      EXPECT_TRUE(returns(tuttiSuccess,
                          rank == 0 ? tuttiSend(&value, 1, tuttiInt32, 1, other[0], nullptr)
                                    : tuttiRecv(&value, 1, tuttiInt32, 0, other[1], nullptr)));
      EXPECT_EQ(value, 77);
    });
  }
}

// An error inside a nested group is known at the outer end at the latest.
TEST_F(GroupTest, BadItemOfABatchInsideAGroup) {
  Team team(2);
  int32_t value = 0;
  const tuttiSendRecvItem_t items[] = {{tuttiItemSend, &value, 1, tuttiInt32, 1},
                                       {tuttiItemRecv, &value, 1, tuttiInt32, 4}};
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  (void)tuttiBatchSendRecv(items, 2, team[0], nullptr);
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiGroupEnd()));
  EXPECT_TRUE(names(last_error(), {"peer: expected 0..1, got 4"}));
  team.expect_usable();
}

// An error while it runs ends the communicator it belongs to; the group ends with it, the rest of
// it is complete.
TEST_F(GroupTest, FailureOfOneCommunicator) {
  Team good(2);
  Team bad(2, 0.1);
  on_ranks(2, [&](int rank) {
    int32_t value = 1;
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    if (rank == 0) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(bad[0], nullptr)));
    }
    EXPECT_TRUE(returns(tuttiSuccess, tuttiAllReduce(&value, &value, 1, tuttiInt32, tuttiSum,
                                                     good[rank], nullptr)));
    EXPECT_TRUE(returns(rank == 0 ? tuttiTimeout : tuttiSuccess, tuttiGroupEnd()));
    EXPECT_EQ(value, 2);
  });
  good.expect_usable();
}

TEST_F(GroupTest, AbortEndsAGroup) {
  for (int round = 0; round < 20; ++round) {
    Team team(2);
    Team other(2);
    std::atomic<bool> recorded{false};
    std::thread grouped([&] {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(team[0], nullptr)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(other[0], nullptr)));
      recorded = true;
      EXPECT_TRUE(returns(tuttiAborted, tuttiGroupEnd()));
    });
    EXPECT_TRUE(wait_until([&] { return recorded.load(); }));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(team[1])));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(other[round % 2])));
    grouped.join();
  }
}

// What a group has recorded needs its communicator.
TEST_F(GroupTest, DestroyInsideAGroupIsRefused) {
  Team team(2);
  int32_t value[2] = {1, 2};
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  for (int r = 0; r < 2; ++r) {
    EXPECT_TRUE(returns(tuttiSuccess, tuttiAllReduce(&value[r], &value[r], 1, tuttiInt32, tuttiSum,
                                                     team[r], nullptr)));
  }
  // From another thread, whose call is no part of the group.
  std::thread([&] {
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommDestroy(team[0])));
    EXPECT_TRUE(names(last_error(), {"tuttiCommDestroy", "rank 0 of 2"}));
  }).join();
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
  EXPECT_EQ(value[0], 3);
  team.expect_usable();
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(team[0], nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommDestroy(team[0])));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiGroupEnd()));
  team.expect_usable();
}

TEST_F(GroupTest, CreationInsideAGroupIsRefused) {
  Team team(2);
  tuttiComm_t made = nullptr;
  const int ranks[] = {0};
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommSplit(team[0], 0, 0, &made, nullptr)));
  EXPECT_TRUE(
      returns(tuttiInvalidUsage, tuttiCommCreateGroup(team[0], ranks, 1, 0, &made, nullptr)));
  EXPECT_TRUE(names(last_error(), {"tuttiCommCreateGroup", "group"}));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiGroupEnd()));
  team.expect_usable();
}

// A thread that ends inside a group takes its calls with it.
TEST_F(GroupTest, ThreadThatEndsInsideAGroup) {
  Team team(2);
  std::thread([&] {
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(team[0], nullptr)));
  }).join();
  team.expect_usable();
}

}  // namespace
}  // namespace tutti
