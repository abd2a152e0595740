// Communicators made out of communicators: by split, by their members only, without waiting; and
// their end.
#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>

#include "tests/api/calls.h"
#include "tests/api/team.h"

namespace tutti {
namespace {

using CreateTest = ApiTest;

tuttiResult_t wait_for_creation(tuttiComm_t comm) {
  tuttiResult_t async = tuttiInProgress;
  EXPECT_TRUE(wait_until([&] {
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommGetAsyncError(comm, &async)));
    return async != tuttiInProgress;
  }));
  return async;
}

TEST_F(CreateTest, InitAllGivesRanksInOrder) {
  for (int n : {1, 2, 8}) {
    Team team(n);
    team.run([&](int rank, tuttiComm_t comm) { expect_member(comm, rank, n); });
  }
  tuttiComm_t comms[2] = {reinterpret_cast<tuttiComm_t>(1), reinterpret_cast<tuttiComm_t>(1)};
  for (int n : {0, -1, INT32_MIN, 4097, INT32_MAX}) {
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommInitAll(comms, n, nullptr)));
    EXPECT_TRUE(names(last_error(), {"tuttiCommInitAll", "1 to 4096", "got " + std::to_string(n)}));
  }
}

TEST_F(CreateTest, SplitByColorAndKey) {
  Team team(6);
  for (int round = 0; round < 10; ++round) {
    team.run([&](int rank, tuttiComm_t comm) {
      // Even and odd ranks, highest first in the first group, as they are in the second.
      const int color = rank % 2;
      const int key = color == 0 ? -rank : 5;
      tuttiComm_t half = nullptr;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiCommSplit(comm, color, key, &half, nullptr)));
      expect_member(half, color == 0 ? 2 - rank / 2 : rank / 2, 3);
      // Once more, out of that one.
      int own = 0;
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommUserRank(half, &own)));
      tuttiComm_t part = nullptr;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiCommSplit(half, own / 2, 0, &part, nullptr)));
      expect_member(part, own % 2, own < 2 ? 2 : 1);
      finish(part);
      finish(half);
    });
  }
  team.expect_usable();
}

TEST_F(CreateTest, SplitWithoutColor) {
  Team team(3);
  team.run([&](int rank, tuttiComm_t comm) {
    tuttiComm_t made = reinterpret_cast<tuttiComm_t>(1);
    const int color = rank == 1 ? TUTTI_SPLIT_NOCOLOR : 4;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiCommSplit(comm, color, 0, &made, nullptr)));
    if (rank == 1) {
      EXPECT_EQ(made, nullptr);
      return;
    }
    expect_member(made, rank / 2, 2);
    finish(made);
  });
  tuttiComm_t made = nullptr;
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommSplit(team[0], -2, 0, &made, nullptr)));
  EXPECT_TRUE(names(last_error(), {"tuttiCommSplit", "color", "got -2"}));
  team.expect_usable();
}

// An all-gather that looks just like the one inside a split is not taken for it.
TEST_F(CreateTest, SplitIsNoAllGather) {
  Team team(2, 5);
  team.run([&](int rank, tuttiComm_t comm) {
    int32_t pair[2] = {1, 2};
    int32_t all[4] = {};
    tuttiComm_t made = nullptr;
    EXPECT_TRUE(returns(tuttiMismatch,
                        rank == 0 ? tuttiCommSplit(comm, 1, 2, &made, nullptr)
                                  : tuttiAllGather(pair, all, 2, tuttiInt32, comm, nullptr)));
    EXPECT_EQ(made, nullptr);
  });
}

// Children go on when the parent is gone.
TEST_F(CreateTest, ChildrenOutliveTheParent) {
  std::vector<tuttiComm_t> comms(3);
  ASSERT_TRUE(returns(tuttiSuccess, tuttiCommInitAll(comms.data(), 3, nullptr)));
  on_ranks(3, [&](int rank) {
    const tuttiComm_t parent = comms[static_cast<size_t>(rank)];
    tuttiComm_t child = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiCommSplit(parent, 0, 0, &child, nullptr)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(parent)));
    expect_member(child, rank, 3);
    // An error of the child names the child's ranks.
    finish(child);
  });
}

TEST_F(CreateTest, AbortOfAChildLeavesTheParentAlone) {
  Team team(4);
  team.run([&](int rank, tuttiComm_t comm) {
    tuttiComm_t child = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiCommSplit(comm, rank / 2, 0, &child, nullptr)));
    if (rank == 3) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(child)));
    } else if (rank == 2) {
      EXPECT_TRUE(returns(tuttiAborted, tuttiBarrier(child, nullptr)));
      EXPECT_TRUE(names(last_error(), {"rank 0 of 2", "rank 1 aborted"})) << "ranks of the child";
    } else {
      expect_member(child, rank, 2);
    }
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(child)));
  });
  team.expect_usable();
}

// A member that leaves a child is missed, although its endpoint lives on in the parent.
TEST_F(CreateTest, LeavingAChildIsARemoteError) {
  Team team(3);
  for (bool wait : {false, true}) {
    std::atomic<bool> gone{false};
    team.run([&](int rank, tuttiComm_t comm) {
      tuttiComm_t child = nullptr;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiCommSplit(comm, 0, -rank, &child, nullptr)));
      if (rank == 0) {
        EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(child)));
        gone = true;
        return;
      }
      EXPECT_TRUE(!wait || wait_until([&] { return gone.load(); }));
      EXPECT_TRUE(returns(tuttiRemoteError, tuttiBarrier(child, nullptr)));
      EXPECT_TRUE(names(last_error(), {"of 3", "barrier", "rank 2", "left"}));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(child)));
    });
  }
  team.expect_usable();
}

TEST_F(CreateTest, GroupOfItsMembersOnly) {
  Team team(5);
  for (int round = 0; round < 10; ++round) {
    team.run([&](int rank, tuttiComm_t comm) {
      const int members[] = {3, 0, 4};
      const auto* found = std::find(std::begin(members), std::end(members), rank);
      if (found == std::end(members)) return;  // the others do nothing
      tuttiComm_t made = nullptr;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiCommCreateGroup(comm, members, 3, 0, &made, nullptr)));
      expect_member(made, static_cast<int>(found - members), 3);
      finish(made);
    });
  }
  team.expect_usable();
}

TEST_F(CreateTest, GroupArguments) {
  Team team(3);
  tuttiComm_t made = nullptr;
  const auto create = [&](std::vector<int> ranks, int tag) {
    return tuttiCommCreateGroup(team[0], ranks.data(), static_cast<int>(ranks.size()), tag, &made,
                                nullptr);
  };
  EXPECT_TRUE(returns(tuttiInvalidArgument, create({}, 0)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, create({0, 3}, 0)));
  EXPECT_TRUE(names(last_error(), {"ranks[1]", "0..2", "got 3"}));
  EXPECT_TRUE(returns(tuttiInvalidArgument, create({0, -1}, 0)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, create({0, 1, 0}, 0)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, create({1, 2}, 0)));
  EXPECT_TRUE(names(last_error(), {"rank 0 of 3", "not among the members"}));
  EXPECT_TRUE(returns(tuttiInvalidArgument, create({0, 1}, -1)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, create({0, 1, 2, 0}, 0)));
  EXPECT_TRUE(names(last_error(), {"expected 1 to 3 ranks", "got 4"}));
  const int one = 0;
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiCommCreateGroup(team[0], &one, INT32_MAX, 0, &made, nullptr)));
  EXPECT_TRUE(
      returns(tuttiInvalidArgument, tuttiCommCreateGroup(team[0], nullptr, 2, 0, &made, nullptr)));
  EXPECT_TRUE(returns(tuttiSuccess, create({0}, 0))) << "alone";
  expect_member(made, 0, 1);
  finish(made);
  team.expect_usable();
}

TEST_F(CreateTest, MissingMembersAreNamed) {
  Team team(4);
  const tuttiConfig_t soon = config_with_timeout(0.1);
  tuttiComm_t made = reinterpret_cast<tuttiComm_t>(1);
  const int members[] = {0, 1, 3};
  on_ranks(2, [&](int rank) {
    tuttiComm_t mine = reinterpret_cast<tuttiComm_t>(1);
    const int64_t start = now_ns();
    EXPECT_TRUE(
        returns(tuttiTimeout, tuttiCommCreateGroup(team[rank], members, 3, 0, &mine, &soon)));
    EXPECT_GE(now_ns() - start, 100'000'000);
    EXPECT_TRUE(names(last_error(), {"rank " + std::to_string(rank) + " of 4", "0.1"}));
    EXPECT_EQ(mine, nullptr);
    // Whoever gives up first may be missing for the other.
    EXPECT_NE(last_error().find(": 3"), last_error().find(": 1, 3"));
  });
  EXPECT_TRUE(returns(tuttiTimeout, tuttiCommCreateGroup(team[3], members, 3, 0, &made, &soon)));
  // The parent is well, and so is the next try.
  team.expect_usable();
  team.run([&](int rank, tuttiComm_t comm) {
    if (rank == 2) return;
    tuttiComm_t mine = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiCommCreateGroup(comm, members, 3, 0, &mine, nullptr)));
    expect_member(mine, rank == 3 ? 2 : rank, 3);
    finish(mine);
  });
}

// All pairs of ranks and two tags each, created without waiting, in an order that differs by rank.
TEST_F(CreateTest, GroupsInAnyOrder) {
  constexpr int kRanks = 5;
  Team team(kRanks);
  tuttiConfig_t config = config_with_timeout(30);
  config.blocking = 0;
  team.run([&](int rank, tuttiComm_t comm) {
    struct Pair {
      int members[2];
      int tag;
      tuttiComm_t made;
    };
    std::vector<Pair> pairs;
    for (int other = 0; other < kRanks; ++other) {
      for (int tag = 0; tag < 2 && other != rank; ++tag) {
        pairs.push_back({{std::min(rank, other), std::max(rank, other)}, tag, nullptr});
      }
    }
    std::mt19937 random(static_cast<unsigned>(rank) + 3);
    std::shuffle(pairs.begin(), pairs.end(), random);
    for (Pair& p : pairs) {
      ASSERT_TRUE(returns(tuttiInProgress,
                          tuttiCommCreateGroup(comm, p.members, 2, p.tag, &p.made, &config)));
    }
    for (Pair& p : pairs) EXPECT_TRUE(returns(tuttiSuccess, wait_for_creation(p.made)));
    // Used in an order that all agree on.
    std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) {
      return std::tie(a.members[0], a.members[1], a.tag) <
             std::tie(b.members[0], b.members[1], b.tag);
    });
    for (const Pair& p : pairs) expect_member(p.made, rank == p.members[0] ? 0 : 1, 2);
    for (const Pair& p : pairs) finish(p.made);
  });
}

// Threads of one rank create groups at the same time, in an order of their own.
TEST_F(CreateTest, GroupsFromManyThreads) {
  constexpr int kRanks = 3;
  constexpr int kThreads = 4;
  Team team(kRanks);
  const int members[] = {0, 1, 2};
  on_ranks(kRanks * kThreads, [&](int id) {
    const int rank = id / kThreads;
    const int tag = (id + rank) % kThreads;
    tuttiComm_t made = nullptr;
    const tuttiResult_t result =
        tuttiCommCreateGroup(team[rank], members, kRanks, tag, &made, nullptr);
    ASSERT_TRUE(returns(tuttiSuccess, result));
    expect_member(made, rank, kRanks);
    finish(made);
  });
}

TEST_F(CreateTest, WithoutWaiting) {
  Team team(3);
  tuttiConfig_t config = config_with_timeout(30);
  config.blocking = 0;
  for (int round = 0; round < 20; ++round) {
    team.run([&](int rank, tuttiComm_t comm) {
      tuttiComm_t made = nullptr;
      const int color = rank == 2 ? TUTTI_SPLIT_NOCOLOR : 0;
      EXPECT_TRUE(returns(tuttiInProgress, tuttiCommSplit(comm, color, -rank, &made, &config)));
      if (rank == 2) {
        EXPECT_EQ(made, nullptr);
        return;
      }
      ASSERT_NE(made, nullptr);
      EXPECT_TRUE(returns(tuttiSuccess, wait_for_creation(made)));
      expect_member(made, 1 - rank, 2);
      finish(made);
    });
  }
  team.expect_usable();
}

// Until it is ready a communicator refuses work and stays as it is.
TEST_F(CreateTest, NotReadyYet) {
  Team team(2);
  tuttiConfig_t config = config_with_timeout(0.5);
  config.blocking = 0;
  const int members[] = {0, 1};
  tuttiComm_t made = nullptr;
  ASSERT_TRUE(
      returns(tuttiInProgress, tuttiCommCreateGroup(team[0], members, 2, 0, &made, &config)));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiBarrier(made, nullptr)));
  EXPECT_TRUE(names(last_error(), {"tuttiBarrier", "being created"}));
  for (const CommCall& c : kCommCalls) {
    EXPECT_TRUE(returns(tuttiInvalidUsage, c.call(made))) << c.name;
  }
  int value = 0;
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommCount(made, &value)));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommUserRank(made, &value)));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommDestroy(made)));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommDestroy(team[0]))) << "it is still needed";
  EXPECT_TRUE(names(last_error(), {"rank 0 of 2", "made out of it"}));
  EXPECT_TRUE(returns(tuttiTimeout, wait_for_creation(made)));
  EXPECT_TRUE(names(last_error(made), {"rank 0 of 2", ": 1"}));
  EXPECT_TRUE(returns(tuttiTimeout, tuttiBarrier(made, nullptr)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(made)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiBarrier(made, nullptr)));
  team.expect_usable();
}

TEST_F(CreateTest, AbortOfACreation) {
  Team team(2);
  tuttiConfig_t config = config_with_timeout(30);
  config.blocking = 0;
  const int members[] = {0, 1};
  tuttiComm_t made = nullptr;
  ASSERT_TRUE(
      returns(tuttiInProgress, tuttiCommCreateGroup(team[0], members, 2, 0, &made, &config)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(made)));
  EXPECT_TRUE(returns(tuttiAborted, wait_for_creation(made)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(made)));
  team.expect_usable();
}

// The end of the parent ends what is being made out of it.
TEST_F(CreateTest, AbortOfTheParent) {
  for (int round = 0; round < 20; ++round) {
    Team team(2);
    tuttiConfig_t config = config_with_timeout(30);
    config.blocking = 0;
    tuttiComm_t split = nullptr;
    tuttiComm_t group = nullptr;
    const int members[] = {0, 1};
    ASSERT_TRUE(returns(tuttiInProgress, tuttiCommSplit(team[0], 0, 0, &split, &config)));
    ASSERT_TRUE(
        returns(tuttiInProgress, tuttiCommCreateGroup(team[0], members, 2, 0, &group, &config)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(team[round % 2])));
    if (round % 4 < 2) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(team.release(0))));
    }
    EXPECT_TRUE(returns(tuttiAborted, wait_for_creation(split)));
    EXPECT_TRUE(returns(tuttiAborted, wait_for_creation(group)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(split)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(group)));
  }
}

}  // namespace
}  // namespace tutti
