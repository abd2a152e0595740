// Messages: order, sizes, parts, headers, slots, borrowing, views, independence of channels.
#include "tests/transports/conformance.h"

#include <algorithm>
#include <random>

namespace tutti {
namespace {

INSTANTIATE_TEST_SUITE_P(Transports, Conformance, testing::ValuesIn(conformance_cases()),
                         [](const auto& param) { return param.param.name; });

// The sizes both sides derive from the seed: mostly small, around every limit, sometimes large.
size_t random_bytes(std::mt19937_64* random) {
  switch ((*random)() % 16) {
    case 0:
      return 0;
    case 1:
      return 31 + (*random)() % 3;
    case 2:
      return 255 + (*random)() % 3;
    case 3:
      return (*random)() % 10'000;
    default:
      return (*random)() % 300;
  }
}

TEST_P(Conformance, KeepsOrderAndContentOverManyMessages) {
  make(2);
  constexpr uint64_t kMessages = 100'000;
  Pipe pipe = open(0, 1);
  run_ranks(2, [&](int rank) {
    std::mt19937_64 random(7);
    if (rank == 1) {
      for (uint64_t n = 0; n < kMessages; ++n) {
        const size_t bytes = random_bytes(&random);
        const Taken taken = take_message(at(1), *pipe.recv, bytes);
        ASSERT_TRUE(taken.arrived) << "message " << n;
        ASSERT_EQ(taken.data, pattern(n, bytes)) << "message " << n;
        ASSERT_EQ(pipe.recv->received(), n + 1);
      }
      return;
    }
    std::vector<std::vector<std::byte>> lent(caps_.slots);
    for (uint64_t n = 0; n < kMessages; ++n) {
      auto& buffer = lent[n % caps_.slots];
      ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() + caps_.slots > n; }));
      buffer = pattern(n, random_bytes(&random));
      ASSERT_TRUE(send_bytes(at(0), *pipe.send, buffer)) << "message " << n;
    }
    EXPECT_EQ(pipe.send->posted(), kMessages);
    EXPECT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == kMessages; }));
    EXPECT_TRUE(wait_for(at(0), [&] { return pipe.send->consumed() == kMessages; }));
  });
}

TEST_P(Conformance, BothDirectionsAtOnceBetweenThreeRanks) {
  make(3);
  run_ranks(3, [&](int rank) {
    const int next = (rank + 1) % 3;
    const int previous = (rank + 2) % 3;
    auto send = at(rank).open_send(make_key(next));
    auto recv = at(rank).open_recv(make_key(previous));
    ASSERT_TRUE(send.ok() && recv.ok());
    for (uint64_t n = 0; n < 2000; ++n) {
      std::vector<std::byte> out = pattern(n * 3 + rank, n % 700);
      ASSERT_TRUE(send_bytes(at(rank), *send.value(), out));
      const Taken taken = take_message(at(rank), *recv.value(), n % 700);
      ASSERT_EQ(taken.data, pattern(n * 3 + previous, n % 700)) << "message " << n;
      ASSERT_TRUE(wait_for(at(rank), [&] { return send.value()->sent() == n + 1; }));
    }
  });
}

TEST_P(Conformance, GathersAndScattersParts) {
  make(2);
  Pipe pipe = open(0, 1);
  const int most = std::min(caps_.max_parts, 40);
  for (size_t unit : {size_t{3}, size_t{50}, size_t{1000}}) {
    for (int nparts : {0, 1, 2, 3, most}) {
      const size_t bytes = unit * static_cast<size_t>(nparts);
      std::vector<std::byte> out = pattern(unit + nparts, bytes);
      std::vector<iovec> parts;
      for (int i = 0; i < nparts; ++i) parts.push_back({out.data() + i * unit, unit});
      if (nparts == 3) parts[1] = {nullptr, 0};  // an empty part, and the last one twice as long
      if (nparts == 3) parts[2] = {out.data() + unit, 2 * unit};
      ASSERT_TRUE(
          wait_for(at(0), [&] { return pipe.send->post_send(nullptr, parts.data(), nparts); }));
      // Landed in pieces of another shape.
      std::vector<std::byte> in(bytes);
      const size_t cut = bytes / 3;
      const iovec places[] = {{in.data(), cut}, {nullptr, 0}, {in.data() + cut, bytes - cut}};
      const uint64_t number = pipe.recv->received();
      pipe.recv->post_recv(places, 3);
      ASSERT_TRUE(wait_for(at(1), [&] { return pipe.recv->received() > number; }));
      EXPECT_EQ(in, out) << unit << " x " << nparts;
      ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == number + 1; }));
    }
  }
}

TEST_P(Conformance, ReceivesPostedAheadLandInOrder) {
  make(2);
  Pipe pipe = open(0, 1);
  const uint32_t count = caps_.slots;
  std::vector<std::vector<std::byte>> in(count, std::vector<std::byte>(400));
  std::vector<iovec> parts;
  for (auto& buffer : in) parts.push_back(part_of(buffer));
  for (const iovec& part : parts) pipe.recv->post_recv(&part, 1);
  EXPECT_EQ(pipe.recv->view(), nullptr) << "posted receives own what arrives";
  std::vector<std::vector<std::byte>> out;
  for (uint32_t i = 0; i < count; ++i) out.push_back(pattern(i, 400));
  for (auto& buffer : out) ASSERT_TRUE(send_bytes(at(0), *pipe.send, buffer));
  ASSERT_TRUE(wait_for(at(1), [&] { return pipe.recv->received() == count; }));
  EXPECT_EQ(in, out);
}

TEST_P(Conformance, WrongLengthIsNotWritten) {
  make(2);
  Pipe pipe = open(0, 1);
  for (size_t bytes : {0, 10, 99, 101, 5000}) {
    std::vector<std::byte> out = pattern(bytes, bytes);
    std::vector<std::byte> in(100);
    const iovec part = part_of(in);
    const uint64_t number = pipe.recv->received();
    pipe.recv->post_recv(&part, 1);
    ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
    ASSERT_TRUE(wait_for(at(1), [&] { return pipe.recv->received() > number; }));
    EXPECT_EQ(pipe.recv->last().bytes, bytes);
    EXPECT_EQ(in, std::vector<std::byte>(100)) << bytes;
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == number + 1; }));
  }
  // The channel goes on.
  std::vector<std::byte> out = pattern(1, 100);
  ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
  EXPECT_EQ(land_message(at(1), *pipe.recv, 100).data, out);
}

TEST_P(Conformance, HeaderIsCopiedAndOptional) {
  make(2);
  Pipe pipe = open(0, 1);
  for (size_t bytes : {0, 8, 200, 5000}) {
    for (bool with : {true, false}) {
      for (bool landed : {false, true}) {
        std::vector<std::byte> out = pattern(bytes, bytes);
        OpHeader header{11, 22, 33 + bytes};
        ASSERT_TRUE(send_bytes(at(0), *pipe.send, out, with ? &header : nullptr));
        std::memset(&header, 0xff, sizeof(header));
        const Taken taken = landed ? land_message(at(1), *pipe.recv, bytes)
                                   : take_message(at(1), *pipe.recv, bytes);
        ASSERT_TRUE(taken.arrived);
        EXPECT_EQ(taken.data, out);
        ASSERT_EQ(taken.has_header, with);
        if (with) {
          EXPECT_EQ(taken.header.comm_epoch, 11u);
          EXPECT_EQ(taken.header.sequence, 22u);
          EXPECT_EQ(taken.header.fingerprint, 33 + bytes);
        }
        ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == pipe.send->posted(); }));
      }
    }
  }
}

TEST_P(Conformance, ExactlyKOutstanding) {
  make(2);
  for (size_t bytes : {0, 8, 1000}) {
    Pipe pipe = open(0, 1, bytes);
    std::vector<std::byte> out = pattern(5, bytes);
    const iovec part = part_of(out);
    for (int round = 0; round < 3; ++round) {
      for (uint32_t i = 0; i < caps_.slots; ++i) ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
      const uint64_t posted = pipe.send->posted();
      EXPECT_EQ(posted, (round + 1) * caps_.slots);
      for (int i = 0; i < 100; ++i) ASSERT_FALSE(pipe.send->post_send(nullptr, &part, 1));
      EXPECT_EQ(pipe.send->posted(), posted);
      for (uint32_t i = 0; i < caps_.slots; ++i) {
        EXPECT_EQ(take_message(at(1), *pipe.recv, bytes).data, out);
      }
      ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->consumed() == posted; }));
    }
    EXPECT_TRUE(pipe.send->health().ok());
  }
}

TEST_P(Conformance, BytesMayChangeOnceSent) {
  make(2);
  Pipe pipe = open(0, 1);
  run_ranks(2, [&](int rank) {
    // One buffer: what arrives must be what it held before sent() passed the message.
    std::vector<std::byte> buffer;
    for (uint64_t n = 0; n < 3000; ++n) {
      const size_t bytes = n % 2 == 0 ? 100 : 3000;
      if (rank == 1) {
        ASSERT_EQ(take_message(at(1), *pipe.recv, bytes).data, pattern(n, bytes));
        continue;
      }
      buffer = pattern(n, bytes);
      ASSERT_TRUE(send_bytes(at(0), *pipe.send, buffer));
      ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == n + 1; }));
      std::fill(buffer.begin(), buffer.end(), std::byte{0xee});
    }
  });
}

TEST_P(Conformance, ViewStaysValidUntilRelease) {
  make(2);
  if (!caps_.view) GTEST_SKIP() << "no view";
  Pipe pipe = open(0, 1);
  for (size_t bytes : {20, 200, 2000}) {
    std::vector<std::vector<std::byte>> out;
    for (uint32_t i = 0; i < caps_.slots; ++i) out.push_back(pattern(i, bytes));
    const OpHeader header{1, 2, 3};
    for (auto& buffer : out) ASSERT_TRUE(send_bytes(at(0), *pipe.send, buffer, &header));
    const Message* first = nullptr;
    ASSERT_TRUE(wait_for(at(1), [&] { return (first = pipe.recv->view()) != nullptr; }));
    const iovec part = part_of(out[0]);
    EXPECT_FALSE(pipe.send->post_send(nullptr, &part, 1));
    for (int i = 0; i < 50; ++i) {
      const Message* again = pipe.recv->view();
      ASSERT_NE(again, nullptr);
      ASSERT_EQ(again->bytes, bytes);
      ASSERT_EQ(bytes_of(*pipe.recv, *again), out[0]);
      ASSERT_EQ(again->header->fingerprint, 3u);
    }
    pipe.recv->release();
    for (uint32_t i = 1; i < caps_.slots; ++i) {
      EXPECT_EQ(take_message(at(1), *pipe.recv, bytes).data, out[i]);
    }
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == pipe.send->posted(); }));
  }
}

TEST_P(Conformance, ReceivePostedWhileViewingIsForTheNextMessage) {
  make(2);
  if (!caps_.view) GTEST_SKIP() << "no view";
  Pipe pipe = open(0, 1);
  for (uint64_t n = 0; n < 200; n += 2) {
    std::vector<std::byte> first = pattern(n, 700);
    std::vector<std::byte> second = pattern(n + 1, 700);
    ASSERT_TRUE(send_bytes(at(0), *pipe.send, first));
    ASSERT_TRUE(send_bytes(at(0), *pipe.send, second));
    const Message* shown = nullptr;
    ASSERT_TRUE(wait_for(at(1), [&] { return (shown = pipe.recv->view()) != nullptr; }));
    std::vector<std::byte> in(700);
    const iovec part = part_of(in);
    pipe.recv->post_recv(&part, 1);
    for (int poll = 0; poll < 10; ++poll) ASSERT_EQ(pipe.recv->received(), n);
    EXPECT_EQ(pipe.recv->view(), shown);
    EXPECT_EQ(bytes_of(*pipe.recv, *shown), first);
    pipe.recv->release();
    ASSERT_TRUE(wait_for(at(1), [&] { return pipe.recv->received() == n + 2; }));
    EXPECT_EQ(in, second);
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == n + 2; }));
  }
}

TEST_P(Conformance, FullChannelBlocksNoOther) {
  make(2);
  Pipe stuck = open(0, 1, 7);
  Pipe free = open(0, 1, 8);
  std::vector<std::byte> out = pattern(1, 500);
  for (uint32_t i = 0; i < caps_.slots; ++i) ASSERT_TRUE(send_bytes(at(0), *stuck.send, out));
  for (uint64_t n = 0; n < 500; ++n) {
    std::vector<std::byte> other = pattern(n, 500);
    ASSERT_TRUE(send_bytes(at(0), *free.send, other));
    ASSERT_EQ(take_message(at(1), *free.recv, 500).data, other);
    ASSERT_TRUE(wait_for(at(0), [&] { return free.send->sent() == n + 1; }));
  }
  EXPECT_EQ(stuck.send->consumed(), 0u);
  for (uint32_t i = 0; i < caps_.slots; ++i) {
    EXPECT_EQ(take_message(at(1), *stuck.recv, 500).data, out);
  }
}

}  // namespace
}  // namespace tutti
