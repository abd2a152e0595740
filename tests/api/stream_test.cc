// Operations on streams: they return at once, run in the order of their calls, and whoever
// synchronises learns how they ended.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>

#include "tests/api/team.h"

namespace tutti {
namespace {

class StreamTest : public ApiTest {
 protected:
  // Streams of the test; destroyed at its end.
  tuttiStream_t make_stream() {
    tuttiStream_t stream = nullptr;
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamCreate(&stream)));
    streams_.push_back(stream);
    return stream;
  }
  std::vector<tuttiStream_t> make_streams(int n) {
    std::vector<tuttiStream_t> made;
    for (int i = 0; i < n; ++i) made.push_back(make_stream());
    return made;
  }
  void TearDown() override {
    for (tuttiStream_t stream : streams_) {
      (void)tuttiStreamSynchronize(stream);
      EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamDestroy(stream)));
    }
    ApiTest::TearDown();
  }

 private:
  std::vector<tuttiStream_t> streams_;
};

tuttiResult_t add_up(std::vector<int32_t>& data, tuttiComm_t comm, tuttiStream_t stream) {
  return tuttiAllReduce(data.data(), data.data(), data.size(), tuttiInt32, tuttiSum, comm, stream);
}

TEST_F(StreamTest, EmptyStream) {
  const tuttiStream_t stream = make_stream();
  EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamQuery(stream)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
}

// One thread can drive all ranks: nothing waits before the synchronise.
TEST_F(StreamTest, ReturnsAtOnce) {
  for (size_t count : {size_t{0}, size_t{1}, size_t{100'000}}) {
    Team team(4);
    const std::vector<tuttiStream_t> streams = make_streams(4);
    std::vector<std::vector<int32_t>> data(4, std::vector<int32_t>(count, 1));
    for (int r = 0; r < 4; ++r) {
      const auto i = static_cast<size_t>(r);
      EXPECT_TRUE(returns(tuttiSuccess, add_up(data[i], team[r], streams[i])));
      if (r < 3 && count > 0) {
        EXPECT_TRUE(returns(tuttiInProgress, tuttiStreamQuery(streams[i])));
      }
    }
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(streams[i])));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamQuery(streams[i])));
      EXPECT_TRUE(std::all_of(data[i].begin(), data[i].end(), [](int32_t v) { return v == 4; }));
    }
  }
}

// The progress thread alone finishes what nobody waits for.
TEST_F(StreamTest, ProgressWithoutSynchronise) {
  Team team(2);
  const std::vector<tuttiStream_t> streams = make_streams(2);
  std::vector<int32_t> data[2] = {std::vector<int32_t>(5000, 1), std::vector<int32_t>(5000, 2)};
  EXPECT_TRUE(returns(tuttiSuccess, add_up(data[0], team[0], streams[0])));
  EXPECT_TRUE(returns(tuttiSuccess, add_up(data[1], team[1], streams[1])));
  for (tuttiStream_t stream : streams) {
    EXPECT_TRUE(wait_until([&] { return tuttiStreamQuery(stream) == tuttiSuccess; }));
  }
  EXPECT_EQ(data[0].back(), 3);
}

// Each call depends on the result of the one before, and they are spread over several streams.
TEST_F(StreamTest, OrderOfCallsWhateverTheStreams) {
  Team team(2);
  std::vector<tuttiStream_t> streams[2] = {make_streams(3), make_streams(3)};
  team.run([&](int rank, tuttiComm_t comm) {
    std::vector<int32_t> data(2000, 1);
    for (int i = 0; i < 12; ++i) {
      // The two ranks even use different streams, and none at all at times.
      const size_t which = static_cast<size_t>(i * (rank + 1)) % 4;
      const tuttiStream_t stream = which == 3 ? nullptr : streams[rank][which];
      ASSERT_TRUE(returns(tuttiSuccess, add_up(data, comm, stream)));
    }
    for (tuttiStream_t stream : streams[rank]) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
    }
    EXPECT_EQ(data.front(), 4096);
    EXPECT_EQ(data.back(), 4096);
  });
}

TEST_F(StreamTest, ManyCallsInARow) {
  for (int n : {2, 4}) {
    Team team(n);
    const std::vector<tuttiStream_t> streams = make_streams(n);
    team.run([&](int rank, tuttiComm_t comm) {
      const tuttiStream_t stream = streams[static_cast<size_t>(rank)];
      std::vector<std::vector<int32_t>> data;
      for (size_t i = 0; i < 300; ++i) data.emplace_back(1 + i % 7 * 500, 1);
      for (auto& d : data) ASSERT_TRUE(returns(tuttiSuccess, add_up(d, comm, stream)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
      for (const auto& d : data) EXPECT_EQ(d.back(), n);
    });
  }
}

// Calls with blocks of their own, whose plans are not kept, while others of them run.
TEST_F(StreamTest, CallsWithDifferentBlocks) {
  Team team(3);
  const std::vector<tuttiStream_t> streams = make_streams(3);
  team.run([&](int rank, tuttiComm_t comm) {
    const tuttiStream_t stream = streams[static_cast<size_t>(rank)];
    const std::vector<int32_t> in(100, rank);
    std::vector<std::vector<int32_t>> out(200, std::vector<int32_t>(300, -1));
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t counts[] = {i % 50, 3, 100 - i % 50};
      const size_t at[] = {0, 60, 100};
      ASSERT_TRUE(returns(tuttiSuccess, tuttiAllGatherV(in.data(), counts[rank], out[i].data(),
                                                        counts, at, tuttiInt32, comm, stream)));
    }
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
    for (size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(out[i][60], 1);
      EXPECT_EQ(out[i][99 + 100 - i % 50], 2);
      EXPECT_EQ(out[i][100 + 100 - i % 50], -1);
    }
  });
}

// Messages never wait for collectives, nor collectives for messages.
TEST_F(StreamTest, PointToPointIsIndependent) {
  Team team(2);
  const tuttiStream_t stream = make_stream();
  std::vector<int32_t> data(5000, 1);
  EXPECT_TRUE(returns(tuttiSuccess, add_up(data, team[0], stream)));  // rank 1 comes later
  std::vector<int32_t> sent(5000, 9);
  std::vector<int32_t> got(5000, 0);
  on_ranks(2, [&](int rank) {
    EXPECT_TRUE(returns(tuttiSuccess,
                        rank == 0 ? tuttiSend(sent.data(), 5000, tuttiInt32, 1, team[0], nullptr)
                                  : tuttiRecv(got.data(), 5000, tuttiInt32, 0, team[1], nullptr)));
  });
  EXPECT_EQ(got, sent);
  EXPECT_TRUE(returns(tuttiInProgress, tuttiStreamQuery(stream)));
  std::vector<int32_t> other(5000, 2);
  EXPECT_TRUE(returns(tuttiSuccess, add_up(other, team[1], nullptr)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
  EXPECT_EQ(data.back(), 3);
}

// A stream is an order too, across communicators.
TEST_F(StreamTest, OneStreamManyCommunicators) {
  Team first(2);
  Team second(2);
  const std::vector<tuttiStream_t> streams = make_streams(2);
  on_ranks(2, [&](int rank) {
    const tuttiStream_t stream = streams[static_cast<size_t>(rank)];
    std::vector<int32_t> data(3000, 1);
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(returns(tuttiSuccess, add_up(data, first[rank], stream)));
      ASSERT_TRUE(returns(tuttiSuccess, add_up(data, second[rank], stream)));
    }
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
    EXPECT_EQ(data.back(), 1024);
  });
}

// A group that is given up must not let later work of a stream run before earlier work.
TEST_F(StreamTest, GivenUpGroupKeepsTheOrder) {
  Team first(2);
  Team second(2, 0.3);
  const tuttiStream_t stream = make_stream();
  std::vector<int32_t> a(5000, 1);
  std::vector<int32_t> b(5000, 1);
  EXPECT_TRUE(returns(tuttiSuccess, add_up(a, first[0], stream)));  // rank 1 does not come yet
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  EXPECT_TRUE(returns(tuttiSuccess, add_up(b, second[0], stream)));
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiBroadcast(b.data(), a.data(), 1, tuttiInt32, 5, second[0], stream)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiGroupEnd()));
  EXPECT_TRUE(returns(tuttiSuccess, add_up(b, second[0], stream)));
  // It lies behind the first: its peer waits in vain.
  std::vector<int32_t> other(5000, 1);
  EXPECT_TRUE(returns(tuttiTimeout, add_up(other, second[1], nullptr)));
  EXPECT_TRUE(returns(tuttiSuccess, add_up(other, first[1], nullptr)));
  EXPECT_TRUE(returns(tuttiRemoteError, tuttiStreamSynchronize(stream)));
  EXPECT_EQ(a.back(), other.back());
}

TEST_F(StreamTest, SynchroniseReportsTheFirstErrorOnce) {
  Team team(2, 0.05);
  const tuttiStream_t stream = make_stream();
  std::vector<int32_t> data(10, 1);
  EXPECT_TRUE(returns(tuttiSuccess, add_up(data, team[0], stream)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(team[0], stream)));
  EXPECT_TRUE(returns(tuttiTimeout, tuttiStreamSynchronize(stream)));
  EXPECT_TRUE(names(last_error(), {"rank 0 of 2", "all_reduce of 10 i32", "rank 1"}));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
  EXPECT_TRUE(returns(tuttiTimeout, add_up(data, team[0], stream))) << "refused at the call";
  // The stream itself goes on.
  Team fresh(2);
  const tuttiStream_t another = make_stream();
  EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(fresh[0], stream)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(fresh[1], another)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(another)));
}

TEST_F(StreamTest, QueryKeepsTheError) {
  Team team(2);
  const tuttiStream_t stream = make_stream();
  EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(team[0], stream)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(team[0])));
  EXPECT_TRUE(wait_until([&] { return tuttiStreamQuery(stream) != tuttiInProgress; }));
  EXPECT_TRUE(returns(tuttiAborted, tuttiStreamQuery(stream)));
  EXPECT_TRUE(returns(tuttiAborted, tuttiStreamQuery(stream)));
  EXPECT_TRUE(returns(tuttiAborted, tuttiStreamSynchronize(stream)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamQuery(stream)));
}

TEST_F(StreamTest, ToOneself) {
  Team team(2);
  const std::vector<tuttiStream_t> streams = make_streams(2);
  std::vector<int32_t> from(5000, 4);
  std::vector<int32_t> to(5000, 0);
  EXPECT_TRUE(
      returns(tuttiSuccess, tuttiSend(from.data(), 5000, tuttiInt32, 0, team[0], streams[0])));
  EXPECT_TRUE(
      returns(tuttiSuccess, tuttiRecv(to.data(), 5000, tuttiInt32, 0, team[0], streams[1])));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(streams[0])));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(streams[1])));
  EXPECT_EQ(to, from);
}

TEST_F(StreamTest, FinalizeWaitsForStreams) {
  Team team(2);
  const std::vector<tuttiStream_t> streams = make_streams(2);
  team.run([&](int rank, tuttiComm_t comm) {
    std::vector<int32_t> data(100'000, rank);
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(returns(tuttiSuccess, add_up(data, comm, streams[static_cast<size_t>(rank)])));
    }
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommFinalize(comm)));
    EXPECT_EQ(data.back(), 4);
    EXPECT_TRUE(returns(tuttiInvalidUsage, add_up(data, comm, nullptr)));
    EXPECT_TRUE(names(last_error(), {"finalized"}));
  });
}

// What a synchronise has seen complete is no longer pending for anybody.
TEST_F(StreamTest, DestroyAfterSynchronise) {
  const std::vector<tuttiStream_t> streams = make_streams(2);
  for (int round = 0; round < 300; ++round) {
    Team team(2);
    std::vector<int32_t> data[2] = {{1}, {2}};
    for (int r = 0; r < 2; ++r) {
      EXPECT_TRUE(returns(tuttiSuccess, add_up(data[r], team[r], streams[static_cast<size_t>(r)])));
    }
    for (int r = 0; r < 2; ++r) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(streams[static_cast<size_t>(r)])));
    }
    for (int r = 0; r < 2; ++r) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(team.release(r)))) << "round " << round;
    }
  }
}

int num_threads() {
  return static_cast<int>(
      std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

TEST_F(StreamTest, ThreadsDoNotGrow) {
  const auto exercise = [](const std::vector<std::unique_ptr<Team>>& teams,
                           const std::vector<tuttiStream_t>& streams) {
    std::vector<int32_t> values(teams.size() * streams.size(), 1);
    size_t next = 0;
    for (size_t s = 0; s < streams.size(); ++s) {
      const auto& team = teams[s / 2 % teams.size()];
      int32_t* value = &values[next++];
      EXPECT_TRUE(
          returns(tuttiSuccess, tuttiAllReduce(value, value, 1, tuttiInt32, tuttiSum,
                                               (*team)[static_cast<int>(s % 2)], streams[s])));
    }
    for (tuttiStream_t stream : streams) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
    }
  };
  std::vector<std::unique_ptr<Team>> teams;
  teams.push_back(std::make_unique<Team>(2));
  exercise(teams, make_streams(2));
  const int before = num_threads();
  for (int i = 0; i < 30; ++i) teams.push_back(std::make_unique<Team>(2));
  exercise(teams, make_streams(64));
  EXPECT_EQ(num_threads(), before);
}

}  // namespace
}  // namespace tutti
