// Offers and placing: what an offer allows, what it does not, and that nothing depends on it.
#include <random>

#include "tests/transports/conformance.h"

namespace tutti {
namespace {

// Takes the next message, which must lie in `base`.
void expect_placed(Transport& transport, RecvChannel& channel, const Block& base,
                   const std::vector<std::byte>& wanted, bool landed) {
  Taken taken;
  if (landed || !transport.capabilities().view) {
    const iovec part = base.part();  // the usual case: offered and posted are the same place
    const uint64_t number = channel.received();
    channel.post_recv(&part, 1);
    ASSERT_TRUE(wait_for(transport, [&] { return channel.received() > number; }));
    note(channel.last(), &taken);
    EXPECT_EQ(channel.last().bytes, wanted.size());
  } else {
    const Message* message = nullptr;
    ASSERT_TRUE(wait_for(transport, [&] { return (message = channel.view()) != nullptr; }));
    note(*message, &taken);
    ASSERT_EQ(message->nparts, 1);
    EXPECT_EQ(message->parts[0].iov_base, base.data());
    EXPECT_EQ(message->bytes, wanted.size());
    channel.release();
  }
  EXPECT_TRUE(taken.placed);
  EXPECT_TRUE(taken.has_header);
  EXPECT_EQ(base.copy(), wanted);
}

TEST_P(Conformance, MatchedOfferIsWrittenInPlace) {
  make(2);
  if (!caps_.place || !GetParam().offers_arrive) GTEST_SKIP() << "no place";
  Pipe pipe = open(0, 1);
  for (uint64_t n = 0; n < 300; ++n) {
    const size_t bytes = n % 3 == 0 ? 64 : 4096;
    std::vector<std::byte> wanted = pattern(n, bytes);
    const Block base(at(1), bytes);
    pipe.recv->offer(n, base.data(), bytes, n + 5);
    void* at_peer = nullptr;
    ASSERT_TRUE(
        wait_for(at(0), [&] { return (at_peer = pipe.send->place(bytes, n + 5)) != nullptr; }));
    std::memcpy(at_peer, wanted.data(), bytes);
    const OpHeader header{1, 2, n};
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->post_placed(&header, bytes); }));
    expect_placed(at(1), *pipe.recv, base, wanted, n % 2 == 0);
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == n + 1; }));
  }
}

TEST_P(Conformance, OfferThatDoesNotFitIsNotUsed) {
  make(2);
  Pipe pipe = open(0, 1);
  const Block base(at(1), 1000);
  for (uint64_t n = 0; n < 100; ++n) {
    pipe.recv->offer(n, base.data(), 1000, 77);
    for (int poll = 0; poll < 20; ++poll) {
      ASSERT_EQ(pipe.send->place(999, 77), nullptr);
      ASSERT_EQ(pipe.send->place(1001, 77), nullptr);
      ASSERT_EQ(pipe.send->place(1000, 78), nullptr);
    }
    std::vector<std::byte> out = pattern(n, 1000);
    ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
    const Taken taken = take_message(at(1), *pipe.recv, 1000);
    EXPECT_FALSE(taken.placed);
    EXPECT_EQ(taken.data, out);
    EXPECT_EQ(base.copy(), std::vector<std::byte>(1000));
  }
}

TEST_P(Conformance, LateOfferIsHarmless) {
  make(2);
  Pipe pipe = open(0, 1);
  const Block base(at(1), 512);
  for (uint64_t n = 0; n < 3 * caps_.slots; ++n) {
    std::vector<std::byte> out = pattern(n, 512);
    ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
    pipe.recv->offer(n, base.data(), 512, 1);  // posted already
    EXPECT_EQ(pipe.send->place(512, 1), nullptr) << "that offer was for message " << n;
    const Taken taken = take_message(at(1), *pipe.recv, 512);
    EXPECT_FALSE(taken.placed);
    EXPECT_EQ(taken.data, out);
    pipe.recv->offer(n, base.data(), 512, 1);  // received already
    EXPECT_EQ(pipe.send->place(512, 1), nullptr);
  }
  EXPECT_EQ(base.copy(), std::vector<std::byte>(512));
}

TEST_P(Conformance, OfferForLaterMessageWaitsForIt) {
  make(2);
  if (!caps_.place || !GetParam().offers_arrive) GTEST_SKIP() << "no place";
  Pipe pipe = open(0, 1);
  const Block base(at(1), 600);
  for (uint64_t round = 0; round < 200; ++round) {
    const uint64_t first = round * 3;
    pipe.recv->offer(first + 2, base.data(), 600, round);
    for (uint64_t n = first; n < first + 2; ++n) {
      for (int poll = 0; poll < 20; ++poll) ASSERT_EQ(pipe.send->place(600, round), nullptr);
      std::vector<std::byte> out = pattern(n, 600);
      ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
      const Taken taken = take_message(at(1), *pipe.recv, 600);
      EXPECT_FALSE(taken.placed);
      EXPECT_EQ(taken.data, out);
    }
    void* at_peer = nullptr;
    ASSERT_TRUE(
        wait_for(at(0), [&] { return (at_peer = pipe.send->place(600, round)) != nullptr; }));
    const std::vector<std::byte> wanted = pattern(first + 2, 600);
    std::memcpy(at_peer, wanted.data(), 600);
    const OpHeader header{1, 2, 3};
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->post_placed(&header, 600); }));
    expect_placed(at(1), *pipe.recv, base, wanted, false);
  }
}

// Both threads at full speed; offers made ahead at random, used when they happen to be there.
TEST_P(Conformance, OffersRaceWithMessages) {
  make(2);
  constexpr uint64_t kMessages = 20'000;
  Pipe pipe = open(0, 1);
  const auto length = [](uint64_t n) { return size_t{40} + n * 37 % 900; };
  run_ranks(2, [&](int rank) {
    if (rank == 0) {
      std::vector<std::vector<std::byte>> lent(caps_.slots);
      for (uint64_t n = 0; n < kMessages; ++n) {
        auto& buffer = lent[n % caps_.slots];
        ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() + caps_.slots > n; }));
        buffer = pattern(n, length(n));
        void* at_peer = pipe.send->place(buffer.size(), n);
        if (at_peer == nullptr) {
          ASSERT_TRUE(send_bytes(at(0), *pipe.send, buffer));
          continue;
        }
        std::memcpy(at_peer, buffer.data(), buffer.size());
        ASSERT_TRUE(
            wait_for(at(0), [&] { return pipe.send->post_placed(nullptr, buffer.size()); }));
      }
      ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == kMessages; }));
      return;
    }
    std::mt19937_64 random(3);
    constexpr uint64_t kAhead = 5;
    const Block bases(at(1), kAhead * 1000);
    const auto base = [&](uint64_t n) { return bases.data() + n % kAhead * 1000; };
    uint64_t offered = 0;
    for (uint64_t n = 0; n < kMessages; ++n) {
      // A base is offered again only after the message it was offered for has been taken.
      for (offered = std::max(offered, n); offered < n + kAhead; ++offered) {
        if (random() % 2 == 0) continue;
        pipe.recv->offer(offered, base(offered), length(offered), offered);
      }
      const Taken taken = take_message(at(1), *pipe.recv, length(n));
      ASSERT_TRUE(taken.arrived) << "message " << n;
      const std::vector<std::byte> wanted = pattern(n, length(n));
      if (!taken.placed) {
        ASSERT_EQ(taken.data, wanted) << "message " << n;
      } else {
        ASSERT_EQ(std::memcmp(base(n), wanted.data(), wanted.size()), 0) << n;
      }
    }
  });
}

}  // namespace
}  // namespace tutti
