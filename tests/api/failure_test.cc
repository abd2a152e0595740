// Peers that are late, never call, abort or leave: every wait ends, with the right code, in time.
#include <algorithm>
#include <atomic>
#include <string>

#include "tests/api/team.h"

namespace tutti {
namespace {

using FailureTest = ApiTest;

double seconds_since(int64_t start_ns) { return static_cast<double>(now_ns() - start_ns) * 1e-9; }

TEST_F(FailureTest, PeerThatNeverCalls) {
  for (int n : {2, 3, 5}) {
    for (double limit : {0.01, 0.1, 1.0}) {
      SCOPED_TRACE(testing::Message() << n << " ranks, " << limit << " s");
      Team team(n, limit);
      std::atomic<int> timeouts{0};
      team.run([&](int rank, tuttiComm_t comm) {
        if (rank == n - 1) return;
        const int64_t start = now_ns();
        const tuttiResult_t result = tuttiBarrier(comm, nullptr);
        const double took = seconds_since(start);
        const std::string text = last_error();
        const std::string missing = "rank " + std::to_string(n - 1);
        if (result == tuttiTimeout) {
          ++timeouts;
          EXPECT_GE(took, limit);
          EXPECT_TRUE(names(text, {"rank " + std::to_string(rank) + " of " + std::to_string(n),
                                   "barrier", "waited", "for rank"}));
          if (n == 2) {
            EXPECT_TRUE(names(text, {missing, "has not called anything yet"}));
          }
        } else {
          EXPECT_EQ(result, tuttiRemoteError) << text;
          EXPECT_TRUE(names(text, {"failed (timeout)", "barrier"}));
        }
        EXPECT_LE(took, limit + std::max(0.05, limit * 0.05) + 5) << "generous: a loaded machine";
        EXPECT_EQ(tuttiBarrier(comm, nullptr), result) << "it stays ended, with the same code";
        EXPECT_EQ(last_error(comm), text);
        tuttiResult_t async;
        EXPECT_TRUE(returns(tuttiSuccess, tuttiCommGetAsyncError(comm, &async)));
        EXPECT_EQ(async, result);
      });
      EXPECT_GE(timeouts.load(), 1);
    }
  }
}

// Nothing is in the way: then it fires at most 50 ms (or 5 %) late. One try of several must do, as
// the machine may be busy with other things.
TEST_F(FailureTest, TimeoutIsPunctual) {
  for (double limit : {0.01, 0.05, 0.2, 1.0}) {
    double best = 1e9;
    for (int round = 0; round < 5 && best > limit + std::max(0.05, limit * 0.05); ++round) {
      Team team(2, limit);
      const int64_t start = now_ns();
      EXPECT_TRUE(returns(tuttiTimeout, tuttiBarrier(team[0], nullptr)));
      const double took = seconds_since(start);
      EXPECT_GE(took, limit);
      best = std::min(best, took);
    }
    EXPECT_LE(best, limit + std::max(0.05, limit * 0.05));
  }
}

TEST_F(FailureTest, TimeoutNamesThePeersLastCall) {
  Team team(2, 0.2);
  team.run([&](int rank, tuttiComm_t comm) {
    float in = 1;
    float out = 0;
    EXPECT_TRUE(
        returns(tuttiSuccess, tuttiAllReduce(&in, &out, 1, tuttiFloat32, tuttiMax, comm, nullptr)));
    if (rank == 1) return;
    EXPECT_TRUE(
        returns(tuttiTimeout, tuttiAllReduce(&in, &out, 1, tuttiFloat32, tuttiMin, comm, nullptr)));
  });
  EXPECT_TRUE(names(last_error(team[0]),
                    {"rank 0 of 2", "(min", "call 1", "rank 1", "latest call", "(max", "call 0"}));
  // The other rank learns of it without having waited itself.
  EXPECT_TRUE(returns(tuttiRemoteError, tuttiBarrier(team[1], nullptr)));
  EXPECT_TRUE(names(last_error(), {"rank 1 of 2", "rank 0 failed (timeout)"}));
}

TEST_F(FailureTest, ReceiveFromNobody) {
  Team team(3, 0.1);
  char byte;
  EXPECT_TRUE(
      returns(tuttiTimeout, tuttiRecvTag(&byte, 1, tuttiInt8, 2, 9, nullptr, team[0], nullptr)));
  EXPECT_TRUE(names(last_error(), {"rank 0 of 3", "receive from rank 2 tag 9 of 1 i8", "waited"}));
  Team others(3, 0.1);
  EXPECT_TRUE(returns(tuttiTimeout, tuttiRecvTag(&byte, 1, tuttiInt8, TUTTI_ANY_RANK, 9, nullptr,
                                                 others[0], nullptr)));
  EXPECT_TRUE(names(last_error(), {"any rank", "tag 9"}));
  // Too long to be taken along: the sender waits for the receiver.
  Team third(2, 0.1);
  const std::vector<char> data(10'000);
  EXPECT_TRUE(
      returns(tuttiTimeout, tuttiSend(data.data(), data.size(), tuttiInt8, 1, third[0], nullptr)));
  EXPECT_TRUE(names(last_error(), {"rank 0 of 2", "send to rank 1 of 10000 i8", "waited"}));
}

TEST_F(FailureTest, LateRankIsWaitedFor) {
  for (int n : {2, 4}) {
    Team team(n);
    team.run([&](int rank, tuttiComm_t comm) {
      if (rank == 0) {
        for (int r = 1; r < n; ++r) {
          EXPECT_TRUE(wait_until([&] { return is_busy(team[r]); }));
        }
      }
      // Large enough that nobody can be done without rank 0.
      std::vector<int32_t> data(10'000, rank);
      EXPECT_TRUE(returns(tuttiSuccess, patiently([&] {
                            return tuttiAllReduce(data.data(), data.data(), data.size(), tuttiInt32,
                                                  tuttiSum, comm, nullptr);
                          })));
      EXPECT_EQ(data.back(), n * (n - 1) / 2);
    });
  }
}

TEST_F(FailureTest, AbortWhileOthersWait) {
  for (int n : {2, 3, 4}) {
    for (int round = 0; round < 60; ++round) {
      Team team(n);
      std::atomic<bool> aborted{false};
      team.run([&](int rank, tuttiComm_t comm) {
        if (rank == 0) {
          // Now and then while they wait, now and then while they come.
          for (int r = 1; r < n && round % 2 == 0; ++r) {
            EXPECT_TRUE(wait_until([&] { return is_busy(team[r]); }));
          }
          EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(comm)));
          aborted = true;
          return;
        }
        EXPECT_TRUE(returns(tuttiAborted, patiently([&] { return tuttiBarrier(comm, nullptr); })));
        EXPECT_TRUE(wait_until([&] { return aborted.load(); }));
        EXPECT_TRUE(names(last_error(comm), {"rank " + std::to_string(rank) + " of",
                                             "rank 0 aborted the communicator"}));
        EXPECT_TRUE(returns(tuttiAborted, tuttiBarrier(comm, nullptr)));
      });
      EXPECT_TRUE(returns(tuttiAborted, tuttiBarrier(team[0], nullptr)));
    }
  }
}

// By another thread, on the very handle that is waiting.
TEST_F(FailureTest, AbortFromAnotherThread) {
  for (int round = 0; round < 30; ++round) {
    Team team(2);
    std::thread waiter([&] {
      EXPECT_TRUE(returns(tuttiAborted, patiently([&] { return tuttiBarrier(team[0], nullptr); })));
      EXPECT_TRUE(names(last_error(), {"rank 0 of 2", "aborted"}));
    });
    EXPECT_TRUE(wait_until([&] { return is_busy(team[0]); }));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(team[0])));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(team[0])));
    waiter.join();
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(team[0])));
    EXPECT_TRUE(returns(tuttiAborted, tuttiBarrier(team[1], nullptr)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(team.release(0))));
    EXPECT_TRUE(returns(tuttiAborted, tuttiBarrier(team[1], nullptr)));
  }
}

TEST_F(FailureTest, AbortWithOperationsOnStreams) {
  for (int round = 0; round < 30; ++round) {
    Team team(2);
    tuttiStream_t stream = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamCreate(&stream)));
    std::vector<float> data(5000);
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiAllReduce(data.data(), data.data(), data.size(),
                                                       tuttiFloat32, tuttiSum, team[0], stream)));
    }
    EXPECT_TRUE(returns(tuttiInProgress, tuttiStreamQuery(stream)));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiStreamDestroy(stream)));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommDestroy(team[0])));
    EXPECT_TRUE(names(last_error(), {"rank 0 of 2", "pending"}));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(team[round % 2])));
    EXPECT_TRUE(returns(tuttiAborted, tuttiStreamSynchronize(stream)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream))) << "reported once";
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamDestroy(stream)));
    EXPECT_TRUE(returns(tuttiAborted, tuttiAllReduce(data.data(), data.data(), data.size(),
                                                     tuttiFloat32, tuttiSum, team[0], nullptr)));
  }
}

// A rank that leaves while others still need it.
TEST_F(FailureTest, LeavingIsARemoteError) {
  for (int n : {2, 3}) {
    for (int round = 0; round < 30; ++round) {
      Team team(n);
      tuttiComm_t leaver = team.release(n - 1);
      team.run([&](int rank, tuttiComm_t comm) {
        if (rank == n - 1) {
          for (int r = 0; r < n - 1 && round % 2 == 0; ++r) {
            EXPECT_TRUE(wait_until([&] { return is_busy(team[r]); }));
          }
          EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(leaver)));
          return;
        }
        EXPECT_TRUE(
            returns(tuttiRemoteError, patiently([&] { return tuttiBarrier(comm, nullptr); })));
        const std::string text = last_error(comm);
        EXPECT_TRUE(names(text, {"rank " + std::to_string(rank) + " of " + std::to_string(n)}));
        if (n == 2) {
          EXPECT_TRUE(names(text, {"barrier", "rank 1"})) << "round " << round;
        }
        EXPECT_TRUE(returns(tuttiRemoteError, tuttiBarrier(comm, nullptr)));
      });
    }
  }
}

// What a rank had sent before it left arrives, whether the receiver was waiting or comes later.
TEST_F(FailureTest, MessagesOfARankThatLeftArrive) {
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    Team team(2);
    tuttiComm_t leaver = team.release(1);
    std::atomic<bool> gone{false};
    on_ranks(2, [&](int rank) {
      int64_t value = round;
      if (rank == 1) {
        if (round % 3 == 0) {
          EXPECT_TRUE(wait_until([&] { return is_busy(team[0]); }));
        }
        EXPECT_TRUE(returns(tuttiSuccess, tuttiSend(&value, 1, tuttiInt64, 0, leaver, nullptr)));
        EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(leaver)));
        gone = true;
        return;
      }
      if (round % 3 == 1) {
        EXPECT_TRUE(wait_until([&] { return gone.load(); }));
      }
      value = -1;
      EXPECT_TRUE(returns(tuttiSuccess, patiently([&] {
                            return tuttiRecv(&value, 1, tuttiInt64, 1, team[0], nullptr);
                          })));
      EXPECT_EQ(value, round);
      EXPECT_TRUE(returns(tuttiRemoteError, tuttiRecv(&value, 1, tuttiInt64, 1, team[0], nullptr)));
      EXPECT_TRUE(names(last_error(), {"rank 0 of 2", "receive from rank 1"}));
    });
  }
}

// A rank whose part is done may go: the others do not need it, so they must not mind.
TEST_F(FailureTest, LeavingEarlyDisturbsNobody) {
  enum { kBarrier, kAllReduce, kGather, kBroadcast, kScatter, kKinds };
  for (int n : {2, 3, 4, 7}) {
    for (int round = 0; round < 100; ++round) {
      const int kind = round % kKinds;
      SCOPED_TRACE(testing::Message() << n << " ranks, round " << round << ", kind " << kind);
      std::vector<tuttiComm_t> comms(static_cast<size_t>(n));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiCommInitAll(comms.data(), n, nullptr)));
      on_ranks(n, [&](int rank) {
        const tuttiComm_t comm = comms[static_cast<size_t>(rank)];
        const size_t count = round % 2 == 0 ? 1 : 4000;
        std::vector<int32_t> in(count * static_cast<size_t>(n), rank);
        std::vector<int32_t> out(count * static_cast<size_t>(n), -1);
        tuttiResult_t result = tuttiSuccess;
        switch (kind) {
          case kBarrier:
            result = tuttiBarrier(comm, nullptr);
            break;
          case kAllReduce:
            result =
                tuttiAllReduce(in.data(), out.data(), count, tuttiInt32, tuttiSum, comm, nullptr);
            break;
          case kGather:
            result = tuttiGather(in.data(), out.data(), count, tuttiInt32, 0, comm, nullptr);
            break;
          case kBroadcast:
            result = tuttiBroadcast(in.data(), out.data(), count, tuttiInt32, 0, comm, nullptr);
            break;
          default:
            result = tuttiScatter(in.data(), out.data(), count, tuttiInt32, 0, comm, nullptr);
        }
        EXPECT_TRUE(returns(tuttiSuccess, result)) << "rank " << rank;
        EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(comm)));
      });
    }
  }
}

}  // namespace
}  // namespace tutti
