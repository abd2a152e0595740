// Messages: tags, senders that are not named, many at once, batches, and messages that do not fit.
#include <algorithm>
#include <atomic>
#include <numeric>
#include <string>

#include "tests/api/team.h"

namespace tutti {
namespace {

using PointToPointTest = ApiTest;

// Short ones travel inside the transport, long ones are lent.
constexpr size_t kCounts[] = {0, 1, 8, 60, 5000};

TEST_F(PointToPointTest, PingPong) {
  Team team(2);
  for (size_t count : kCounts) {
    team.run([&](int rank, tuttiComm_t comm) {
      for (int i = 0; i < 50; ++i) {
        std::vector<int32_t> out(count, i);
        std::vector<int32_t> in(count, -1);
        const auto send = [&] {
          return tuttiSend(out.data(), count, tuttiInt32, 1 - rank, comm, nullptr);
        };
        const auto recv = [&] {
          return tuttiRecv(in.data(), count, tuttiInt32, 1 - rank, comm, nullptr);
        };
        ASSERT_TRUE(returns(tuttiSuccess, rank == 0 ? send() : recv()));
        ASSERT_TRUE(returns(tuttiSuccess, rank == 0 ? recv() : send()));
        ASSERT_EQ(in, out);
      }
    });
  }
}

// Nothing outside the buffer is touched, and a message of no bytes is still a message.
TEST_F(PointToPointTest, ZeroCounts) {
  Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    for (int i = 0; i < 5; ++i) {
      EXPECT_TRUE(
          returns(tuttiSuccess, rank == 0 ? tuttiSend(nullptr, 0, tuttiFloat64, 1, comm, nullptr)
                                          : tuttiRecv(nullptr, 0, tuttiFloat64, 0, comm, nullptr)));
    }
  });
  team.expect_usable();
}

// Tags are orders of their own; untagged messages are apart from all of them.
TEST_F(PointToPointTest, TagsDoNotMix) {
  Team team(2);
  const int64_t tags[] = {0, 1, 7, INT64_MAX};
  for (size_t count : kCounts) {
    team.run([&](int rank, tuttiComm_t comm) {
      std::vector<std::vector<int32_t>> data;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
      for (int i = 0; i < 5; ++i) {
        // The receiver names them the other way round.
        const int which = rank == 0 ? i : 4 - i;
        data.emplace_back(count, rank == 0 ? which : -1);
        int32_t* buffer = data.back().data();
        tuttiResult_t result = tuttiSuccess;
        if (which == 4) {
          result = rank == 0 ? tuttiSend(buffer, count, tuttiInt32, 1, comm, nullptr)
                             : tuttiRecv(buffer, count, tuttiInt32, 0, comm, nullptr);
        } else {
          const int64_t tag = tags[which];
          result = rank == 0
                       ? tuttiSendTag(buffer, count, tuttiInt32, 1, tag, comm, nullptr)
                       : tuttiRecvTag(buffer, count, tuttiInt32, 0, tag, nullptr, comm, nullptr);
        }
        ASSERT_TRUE(returns(tuttiSuccess, result));
      }
      ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
      for (int i = 0; i < 5 && rank == 1; ++i) {
        for (int32_t v : data[static_cast<size_t>(i)]) ASSERT_EQ(v, 4 - i);
      }
    });
  }
}

TEST_F(PointToPointTest, SameTagArrivesInOrder) {
  Team team(2);
  for (size_t count : kCounts) {
    team.run([&](int rank, tuttiComm_t comm) {
      constexpr size_t kMessages = 200;  // more than a channel holds
      std::vector<std::vector<int32_t>> data(kMessages);
      ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
      for (size_t i = 0; i < kMessages; ++i) {
        data[i].assign(count, rank == 0 ? static_cast<int32_t>(i) : -1);
        ASSERT_TRUE(returns(
            tuttiSuccess,
            rank == 0
                ? tuttiSendTag(data[i].data(), count, tuttiInt32, 1, 5, comm, nullptr)
                : tuttiRecvTag(data[i].data(), count, tuttiInt32, 0, 5, nullptr, comm, nullptr)));
      }
      ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
      for (size_t i = 0; i < kMessages; ++i) {
        for (int32_t v : data[i]) ASSERT_EQ(v, static_cast<int32_t>(i));
      }
    });
  }
}

TEST_F(PointToPointTest, FromAnyRank) {
  constexpr int kRanks = 5;
  Team team(kRanks);
  for (size_t count : {size_t{1}, size_t{5000}}) {
    team.run([&](int rank, tuttiComm_t comm) {
      constexpr int kEach = 20;
      if (rank != 0) {
        const std::vector<int32_t> data(count, rank);
        for (int i = 0; i < kEach; ++i) {
          ASSERT_TRUE(returns(tuttiSuccess,
                              tuttiSendTag(data.data(), count, tuttiInt32, 0, 2, comm, nullptr)));
        }
        return;
      }
      std::vector<int> from(kRanks, 0);
      for (int i = 0; i < kEach * (kRanks - 1); ++i) {
        std::vector<int32_t> data(count, -1);
        int source = -9;
        ASSERT_TRUE(returns(tuttiSuccess, tuttiRecvTag(data.data(), count, tuttiInt32,
                                                       TUTTI_ANY_RANK, 2, &source, comm, nullptr)));
        ASSERT_TRUE(source >= 1 && source < kRanks) << source;
        EXPECT_EQ(data.back(), source);
        ++from[static_cast<size_t>(source)];
      }
      for (int r = 1; r < kRanks; ++r) EXPECT_EQ(from[static_cast<size_t>(r)], kEach);
    });
  }
}

// Several receives from any rank at once, in a group: each message goes to one of them.
TEST_F(PointToPointTest, ManyReceivesFromAnyRank) {
  constexpr int kRanks = 4;
  Team team(kRanks);
  team.run([&](int rank, tuttiComm_t comm) {
    std::vector<int32_t> got(kRanks, -1);
    std::vector<int> sources(kRanks, -1);
    const int32_t mine = rank;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    for (int r = 0; r < kRanks; ++r) {  // to itself too
      const auto i = static_cast<size_t>(r);
      ASSERT_TRUE(returns(tuttiSuccess, tuttiRecvTag(&got[i], 1, tuttiInt32, TUTTI_ANY_RANK, 8,
                                                     &sources[i], comm, nullptr)));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiSendTag(&mine, 1, tuttiInt32, r, 8, comm, nullptr)));
    }
    ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
    EXPECT_EQ(got, sources);
    std::sort(got.begin(), got.end());
    for (int r = 0; r < kRanks; ++r) EXPECT_EQ(got[static_cast<size_t>(r)], r);
  });
}

TEST_F(PointToPointTest, Batch) {
  for (int n : {1, 2, 3, 8}) {
    Team team(n);
    for (size_t count : kCounts) {
      team.run([&](int rank, tuttiComm_t comm) {
        // Everybody with everybody, itself too.
        std::vector<std::vector<int32_t>> out(static_cast<size_t>(n));
        std::vector<std::vector<int32_t>> in(static_cast<size_t>(n));
        std::vector<tuttiSendRecvItem_t> items;
        for (int r = 0; r < n; ++r) {
          out[static_cast<size_t>(r)].assign(count, rank * 100 + r);
          in[static_cast<size_t>(r)].assign(count, -1);
          items.push_back(
              {tuttiItemSend, out[static_cast<size_t>(r)].data(), count, tuttiInt32, r});
          items.push_back({tuttiItemRecv, in[static_cast<size_t>(r)].data(), count, tuttiInt32, r});
        }
        EXPECT_TRUE(returns(
            tuttiSuccess,
            tuttiBatchSendRecv(items.data(), static_cast<int>(items.size()), comm, nullptr)));
        for (int r = 0; r < n; ++r) {
          for (int32_t v : in[static_cast<size_t>(r)]) EXPECT_EQ(v, r * 100 + rank);
        }
      });
    }
    EXPECT_TRUE(returns(tuttiSuccess, tuttiBatchSendRecv(nullptr, 0, team[0], nullptr)));
  }
}

TEST_F(PointToPointTest, BadItemStopsTheBatch) {
  Team team(2);
  int32_t value = 0;
  tuttiSendRecvItem_t items[] = {{tuttiItemSend, &value, 1, tuttiInt32, 1},
                                 {tuttiItemRecv, nullptr, 1, tuttiInt32, 1}};
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiBatchSendRecv(items, 2, team[0], nullptr)));
  EXPECT_TRUE(names(last_error(), {"rank 0 of 2", "buffer", "got NULL"}));
  // The good item did not run: the next message is the first.
  team.run([&](int rank, tuttiComm_t comm) {
    int32_t v = rank == 0 ? 55 : 0;
    EXPECT_TRUE(returns(tuttiSuccess, rank == 0 ? tuttiSend(&v, 1, tuttiInt32, 1, comm, nullptr)
                                                : tuttiRecv(&v, 1, tuttiInt32, 0, comm, nullptr)));
    EXPECT_EQ(v, 55);
  });
}

// Count and type of a receive must be those of its send; the receiver's memory stays as it was.
TEST_F(PointToPointTest, MismatchesAreNamed) {
  struct Case {
    size_t sent, received;
    tuttiDataType_t sent_type, received_type;
    std::vector<std::string> words;
  };
  const Case cases[] = {
      {4, 5, tuttiInt32, tuttiInt32, {"expected 5 i32", "rank 1 sent 4 i32"}},
      {5, 4, tuttiInt32, tuttiInt32, {"expected 4 i32", "rank 1 sent 5 i32"}},
      {0, 4, tuttiInt32, tuttiInt32, {"expected 4 i32", "rank 1 sent 0"}},
      {4, 0, tuttiInt32, tuttiInt32, {"expected 0 i32", "rank 1 sent 4 i32"}},
      {4, 4, tuttiInt32, tuttiFloat32, {"expected 4 f32", "rank 1 sent 4 i32"}},
      {8, 4, tuttiFloat32, tuttiFloat64, {"expected 4 f64", "rank 1 sent 8 f32"}},
      {6000, 5000, tuttiInt8, tuttiInt8, {"expected 5000 i8", "rank 1 sent 6000 i8"}},
  };
  for (const Case& c : cases) {
    for (int peer : {1, TUTTI_ANY_RANK}) {
      Team team(2, 5);
      team.run([&](int rank, tuttiComm_t comm) {
        std::vector<char> data(10'000, 3);
        if (rank == 1) {
          const tuttiResult_t result =
              tuttiSendTag(data.data(), c.sent, c.sent_type, 0, 4, comm, nullptr);
          // A short message is gone before anybody looks at it.
          EXPECT_TRUE(result == tuttiSuccess || result == tuttiMismatch) << last_error();
          EXPECT_TRUE(returns(tuttiMismatch, tuttiBarrier(comm, nullptr)));
          EXPECT_TRUE(names(last_error(comm), c.words));
          return;
        }
        EXPECT_TRUE(returns(tuttiMismatch, tuttiRecvTag(data.data(), c.received, c.received_type,
                                                        peer, 4, nullptr, comm, nullptr)));
        EXPECT_TRUE(names(last_error(), c.words));
        EXPECT_TRUE(names(last_error(), {"rank 0", "tag 4"}));
        EXPECT_TRUE(std::all_of(data.begin(), data.end(), [](char b) { return b == 3; }));
        EXPECT_TRUE(returns(tuttiMismatch, tuttiBarrier(comm, nullptr)));
      });
    }
  }
}

// Both ends at once, far more than a channel holds, in both directions.
TEST_F(PointToPointTest, ManyOutstanding) {
  constexpr int kRanks = 3;
  Team team(kRanks);
  team.run([&](int rank, tuttiComm_t comm) {
    constexpr size_t kMessages = 150;
    constexpr size_t kCount = 300;
    std::vector<int32_t> out(kCount * kMessages * kRanks);
    std::iota(out.begin(), out.end(), rank * 1'000'000);
    std::vector<int32_t> in(out.size(), -1);
    ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    for (size_t m = 0; m < kMessages; ++m) {
      for (int peer = 0; peer < kRanks; ++peer) {
        if (peer == rank) continue;
        const size_t to = (static_cast<size_t>(peer) * kMessages + m) * kCount;
        ASSERT_TRUE(
            returns(tuttiSuccess, tuttiSend(&out[to], kCount, tuttiInt32, peer, comm, nullptr)));
        ASSERT_TRUE(
            returns(tuttiSuccess, tuttiRecv(&in[to], kCount, tuttiInt32, peer, comm, nullptr)));
      }
    }
    ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
    for (int peer = 0; peer < kRanks; ++peer) {
      if (peer == rank) continue;
      const size_t block = kMessages * kCount;
      for (size_t i = 0; i < block; ++i) {
        ASSERT_EQ(in[static_cast<size_t>(peer) * block + i],
                  peer * 1'000'000 + rank * static_cast<int32_t>(block) + static_cast<int32_t>(i));
      }
    }
  });
}

}  // namespace
}  // namespace tutti
