// Several threads and one communicator: a second caller is refused and does no harm, what any
// thread may call works at any time, and errors belong to the thread that got them.
#include <atomic>
#include <string>

#include "tests/api/calls.h"
#include "tests/api/team.h"

namespace tutti {
namespace {

using ThreadsTest = ApiTest;

// Two threads enter the same handle; the peer comes only after one of them was refused.
TEST_F(ThreadsTest, SecondCallerIsRefused) {
  for (int round = 0; round < 50; ++round) {
    Team team(2);
    std::atomic<int> refused{0};
    std::atomic<int> done{0};
    on_ranks(3, [&](int thread) {
      if (thread == 2) {
        EXPECT_TRUE(wait_until([&] { return refused == 1; }));
        EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(team[1], nullptr)));
        return;
      }
      const tuttiResult_t result = tuttiBarrier(team[0], nullptr);
      if (result == tuttiSuccess) {
        ++done;
        return;
      }
      EXPECT_TRUE(returns(tuttiConcurrentUse, result));
      EXPECT_TRUE(names(last_error(), {"tuttiBarrier", "another thread is inside"}));
      ++refused;
    });
    EXPECT_EQ(refused, 1);
    EXPECT_EQ(done, 1);
    team.expect_usable();
  }
}

// Every call that needs the communicator is refused while a thread is inside.
TEST_F(ThreadsTest, EveryCallIsRefused) {
  Team team(2);
  std::thread inside([&] {
    EXPECT_TRUE(returns(tuttiSuccess, patiently([&] { return tuttiBarrier(team[0], nullptr); })));
  });
  EXPECT_TRUE(wait_until([&] { return is_busy(team[0]); }));
  float in[8] = {};
  float out[8] = {};
  for (const Function& f : kFunctions) {
    Arguments a;
    a.send = in;
    a.recv = out;
    a.count = 4;
    a.comm = team[0];
    EXPECT_TRUE(returns(tuttiConcurrentUse, f.call(a))) << f.name;
    EXPECT_TRUE(names(last_error(), {f.name})) << f.name;
  }
  for (const CommCall& c : kCommCalls) {
    if (c.name == std::string("tuttiCommCreateGroup")) continue;  // may be called at any time
    EXPECT_TRUE(returns(tuttiConcurrentUse, c.call(team[0]))) << c.name;
  }
  EXPECT_TRUE(returns(tuttiConcurrentUse, tuttiCommDestroy(team[0])));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(team[1], nullptr)));
  inside.join();
  team.expect_usable();
}

// The same for a group that names a busy communicator; nothing of it runs.
TEST_F(ThreadsTest, GroupOnABusyCommunicator) {
  Team team(2);
  Team other(2);
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(other[0], nullptr)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(team[0], nullptr)));
  std::thread inside([&] {
    EXPECT_TRUE(returns(tuttiSuccess, patiently([&] { return tuttiBarrier(team[0], nullptr); })));
  });
  // Inside a group errors are the group's: ask from outside.
  bool busy = false;
  std::thread([&] { busy = wait_until([&] { return is_busy(team[0]); }); }).join();
  EXPECT_TRUE(busy);
  EXPECT_TRUE(returns(tuttiConcurrentUse, tuttiGroupEnd()));
  EXPECT_TRUE(names(last_error(), {"tuttiGroupEnd", "rank 0 of 2"}));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(team[1], nullptr)));
  inside.join();
  team.expect_usable();
  other.expect_usable();
}

TEST_F(ThreadsTest, AnyThreadMayAsk) {
  Team team(3);
  std::atomic<bool> stop{false};
  std::vector<std::thread> askers;
  for (int i = 0; i < 2; ++i) {
    askers.emplace_back([&] {
      while (!stop) {
        for (int r = 0; r < team.size(); ++r) {
          int value = -1;
          tuttiResult_t async = tuttiInternalError;
          EXPECT_TRUE(returns(tuttiSuccess, tuttiCommCount(team[r], &value)));
          EXPECT_EQ(value, 3);
          EXPECT_TRUE(returns(tuttiSuccess, tuttiCommUserRank(team[r], &value)));
          EXPECT_EQ(value, r);
          EXPECT_TRUE(returns(tuttiSuccess, tuttiCommGetAsyncError(team[r], &async)));
          EXPECT_EQ(async, tuttiSuccess);
          EXPECT_EQ(last_error(team[r]), "");
        }
      }
    });
  }
  team.run([&](int rank, tuttiComm_t comm) {
    for (int i = 0; i < 2000; ++i) {
      int32_t value = rank;
      ASSERT_TRUE(returns(tuttiSuccess,
                          tuttiAllReduce(&value, &value, 1, tuttiInt32, tuttiSum, comm, nullptr)));
      ASSERT_EQ(value, 3);
    }
  });
  stop = true;
  for (std::thread& asker : askers) asker.join();
}

// While it fails, too.
TEST_F(ThreadsTest, AnyThreadMayAskWhileItIsAborted) {
  for (int round = 0; round < 50; ++round) {
    Team team(2);
    std::atomic<int> waiting{2};
    std::thread asker([&] {
      tuttiResult_t async = tuttiSuccess;
      while (waiting > 0 || async == tuttiSuccess) {
        EXPECT_TRUE(returns(tuttiSuccess, tuttiCommGetAsyncError(team[1], &async)));
        (void)last_error(team[1]);
      }
      EXPECT_EQ(async, tuttiAborted);
    });
    std::thread aborter([&] { EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(team[0]))); });
    team.run([&](int, tuttiComm_t comm) {
      tuttiResult_t result = tuttiSuccess;
      while (result == tuttiSuccess) result = tuttiBarrier(comm, nullptr);
      EXPECT_TRUE(returns(tuttiAborted, result));
      --waiting;
    });
    asker.join();
    aborter.join();
  }
}

TEST_F(ThreadsTest, LastErrorIsPerThread) {
  std::thread([] {
    EXPECT_EQ(last_error(), "");
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiGetVersion(nullptr)));
    EXPECT_TRUE(names(last_error(), {"tuttiGetVersion"}));
    std::thread([] { EXPECT_EQ(last_error(), ""); }).join();
    // A success does not erase it.
    int version = 0;
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGetVersion(&version)));
    EXPECT_EQ(version, TUTTI_VERSION_CODE);
    EXPECT_TRUE(names(last_error(), {"tuttiGetVersion"}));
  }).join();
}

TEST_F(ThreadsTest, LastErrorOfACommunicator) {
  Team team(2);
  Team other(2);
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(team[0])));
  EXPECT_TRUE(names(last_error(team[0]), {"rank 0 of 2", "aborted"}));
  EXPECT_TRUE(names(last_error(team[1]), {"rank 1 of 2", "rank 0 aborted"}));
  // Of one that is well: the thread's own.
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiGetVersion(nullptr)));
  EXPECT_TRUE(names(last_error(other[0]), {"tuttiGetVersion"}));
}

}  // namespace
}  // namespace tutti
