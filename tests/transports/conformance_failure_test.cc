// Ends: abort, vanished peers, deadlines; and the lives of channels: opening order, many of them,
// again and again.
#include <atomic>
#include <sched.h>
#include <thread>

#include "tests/transports/conformance.h"

namespace tutti {
namespace {

TEST_P(Conformance, OpensInEitherOrder) {
  make(2);
  for (uint64_t order = 0; order < 20; ++order) {
    for (bool sender_first : {true, false}) {
      const uint64_t tag = order * 2 + sender_first;
      std::unique_ptr<SendChannel> send;
      std::unique_ptr<RecvChannel> recv;
      const auto open_recv = [&] { recv = std::move(at(1).open_recv(make_key(0, tag)).value()); };
      if (!sender_first) open_recv();
      send = std::move(at(0).open_send(make_key(1, tag)).value());
      std::vector<std::vector<std::byte>> out;
      for (uint64_t n = 0; n < 2; ++n) out.push_back(pattern(n, 10 + n * 1000));
      for (auto& buffer : out) ASSERT_TRUE(send_bytes(at(0), *send, buffer));
      if (sender_first) open_recv();
      for (auto& buffer : out) {
        EXPECT_EQ(take_message(at(1), *recv, buffer.size()).data, buffer);
      }
    }
  }
}

// After abort() no kernel of a peer begins, and those that were running are over.
TEST_P(Conformance, AbortWaitsForKernelsOfPeers) {
  make(2);
  if (!caps_.view && !caps_.place) GTEST_SKIP() << "no kernel touches memory of another rank";
#if defined(__SANITIZE_THREAD__)
  if (caps_.fetch) GTEST_SKIP() << "the sanitizer does not know that two mappings are one memory";
#endif
  for (uint64_t comm = 1; comm <= 200; ++comm) {
    auto gate = std::move(at(1).open_gate(comm).value());
    auto other = std::move(at(1).open_gate(comm + 1000).value());
    std::vector<int> memory(64, 0);
    std::atomic<bool> running{false};
    std::thread worker([&] {
      while (gate->enter()) {
        for (int& v : memory) ++v;  // what a kernel does to a peer's buffer
        gate->leave();
        running = true;
      }
    });
    while (!running) sched_yield();
    at(0).abort(comm);
    memory.assign(64, -1);  // ours again
    worker.join();
    for (int v : memory) ASSERT_EQ(v, -1);
    ASSERT_TRUE(other->enter()) << "another communicator goes on";
    other->leave();
  }
}

TEST_P(Conformance, ManyTagsReadInAnyOrder) {
  make(2);
  constexpr int kTags = 300;
  std::vector<Pipe> pipes;
  std::vector<std::vector<std::byte>> out;
  for (uint64_t tag = 0; tag < kTags; ++tag) {
    ChannelKey key = make_key(1, tag * 0x100000001);
    key.plane = Plane::kPointToPoint;
    Pipe pipe;
    pipe.send = std::move(at(0).open_send(key).value());
    key.peer = 0;
    pipe.recv = std::move(at(1).open_recv(key).value());
    pipes.push_back(std::move(pipe));
    out.push_back(pattern(tag, tag));
  }
  for (int i = 0; i < kTags; ++i) ASSERT_TRUE(send_bytes(at(0), *pipes[i].send, out[i]));
  for (int i = kTags - 1; i >= 0; --i) {
    EXPECT_EQ(take_message(at(1), *pipes[i].recv, out[i].size()).data, out[i]);
  }
}

TEST_P(Conformance, PlanesEpochsAndCommunicatorsAreSeparate) {
  make(2);
  std::vector<std::pair<ChannelKey, Pipe>> all;
  for (uint64_t comm : {1, 2}) {
    for (uint32_t epoch : {0, 1}) {
      for (Plane plane : {Plane::kCollective, Plane::kPointToPoint, Plane::kExpert}) {
        ChannelKey key{comm, epoch, plane, 1, 5};
        Pipe pipe;
        pipe.send = std::move(at(0).open_send(key).value());
        key.peer = 0;
        pipe.recv = std::move(at(1).open_recv(key).value());
        all.emplace_back(key, std::move(pipe));
      }
    }
  }
  std::vector<std::vector<std::byte>> out;
  for (size_t i = 0; i < all.size(); ++i) out.push_back(pattern(i, 24));
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_TRUE(send_bytes(at(0), *all[i].second.send, out[i]));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(take_message(at(1), *all[i].second.recv, 24).data, out[i]);
  }
}

TEST_P(Conformance, OpenAndCloseAgainAndAgain) {
  make(2);
  for (uint64_t i = 0; i < 2000; ++i) {
    Pipe pipe = open(0, 1, i % 3);
    std::vector<std::byte> out = pattern(i, i % 500);
    ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
    ASSERT_EQ(take_message(at(1), *pipe.recv, out.size()).data, out);
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == 1; }));
  }
}

TEST_P(Conformance, LastMessageArrivesThoughTheSenderHasClosed) {
  make(2);
  Pipe pipe = open(0, 1);
  std::vector<std::byte> out = pattern(1, 16);
  ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
  if (!wait_for(
          at(0), [&] { return pipe.send->sent() == 1; }, 1000)) {
    GTEST_SKIP() << "small messages stay borrowed";
  }
  pipe.send.reset();
  EXPECT_EQ(take_message(at(1), *pipe.recv, 16).data, out);
  EXPECT_TRUE(wait_for(at(1), [&] { return !pipe.recv->health().ok(); }));
  EXPECT_EQ(pipe.recv->health().code(), Code::kRemoteError);
}

TEST_P(Conformance, WaitIsLeftAtTheDeadline) {
  make(2);
  Pipe pipe = open(0, 1);
  const int64_t start = now_ns();
  EXPECT_FALSE(wait_for(
      at(1), [&] { return pipe.recv->view() != nullptr; }, 50));
  const int64_t took_ms = (now_ns() - start) / 1'000'000;
  EXPECT_GE(took_ms, 50);
  EXPECT_LT(took_ms, 5000);
  EXPECT_TRUE(pipe.recv->health().ok());
}

TEST_P(Conformance, AbortFromAnotherThreadEndsPendingWaits) {
  make(2);
  Pipe there = open(0, 1);
  Pipe back = open(1, 0);
  std::vector<std::byte> out = pattern(1, 4000);  // never consumed
  std::atomic<int> waiting{0};
  run_ranks(3, [&](int rank) {
    if (rank == 2) {
      // Not a wait for the others: abort must be right before, while and after they wait.
      while (waiting.load() < 2) std::this_thread::yield();
      at(0).abort(1);
      return;
    }
    if (rank == 0) {
      ASSERT_TRUE(send_bytes(at(0), *there.send, out));
    }
    waiting.fetch_add(1);
    Status seen;
    RecvChannel& pending = rank == 0 ? *back.recv : *there.recv;
    ASSERT_TRUE(wait_for(at(rank), [&] {
      if (rank == 0) pending.received();
      seen = pending.health();
      return !seen.ok();
    }));
    EXPECT_EQ(seen.code(), rank == 0 ? Code::kAborted : Code::kRemoteError) << seen.text();
  });
  EXPECT_EQ(there.send->health().code(), Code::kAborted);
  EXPECT_EQ(back.send->health().code(), Code::kRemoteError);
  EXPECT_NE(back.send->health().text().find("peer 0"), std::string::npos);
  at(0).abort(1);  // again: nothing changes
  at(1).abort(1);
  EXPECT_EQ(back.send->health().code(), Code::kAborted);
}

TEST_P(Conformance, NothingCompletesAfterAbort) {
  make(2);
  for (int aborter : {0, 1}) {
    const uint64_t comm = 10 + static_cast<uint64_t>(aborter);
    Pipe small = open_pipe(endpoints_, 0, 1, 0, comm);
    Pipe large = open_pipe(endpoints_, 0, 1, 1, comm);
    Pipe other = open_pipe(endpoints_, 0, 1, 0, 99);
    std::vector<std::byte> few = pattern(1, 8);
    std::vector<std::byte> many = pattern(2, 8000);
    std::vector<std::byte> in(8000);
    const iovec part = part_of(in);
    ASSERT_TRUE(send_bytes(at(0), *small.send, few));
    ASSERT_TRUE(send_bytes(at(0), *large.send, many));
    large.recv->post_recv(&part, 1);
    small.recv->offer(1, in.data(), in.size(), 4);
    const uint64_t sent[] = {small.send->sent(), large.send->sent()};
    at(aborter).abort(comm);
    if (!GetParam().ends_at_once) {
      const auto heard = [&] { return aborter == 0 ? large.recv->health() : large.send->health(); };
      ASSERT_TRUE(wait_for(at(1 - aborter), [&] { return !heard().ok(); }));
    }
    const iovec again = part_of(few);
    for (int poll = 0; poll < 200; ++poll) {
      for (auto& endpoint : endpoints_) endpoint->progress();
      ASSERT_EQ(small.recv->view(), nullptr);
      ASSERT_EQ(small.recv->received(), 0u);
      ASSERT_EQ(large.recv->received(), 0u);
      ASSERT_EQ(small.send->sent(), sent[0]);
      ASSERT_EQ(large.send->sent(), sent[1]);
      ASSERT_EQ(small.send->place(in.size(), 4), nullptr);
      ASSERT_FALSE(small.send->post_send(nullptr, &again, 1));
    }
    EXPECT_EQ(in, std::vector<std::byte>(8000));
    // A peer that comes to the aborted communicator later sees it as well.
    EXPECT_FALSE(at(0).open_send(make_key(1, 5, comm)).ok());
    EXPECT_FALSE(at(1).open_recv(make_key(0, 5, comm)).ok());
    // Other communicators go on.
    ASSERT_TRUE(send_bytes(at(0), *other.send, few));
    EXPECT_EQ(take_message(at(1), *other.recv, few.size()).data, few);
    EXPECT_TRUE(other.send->health().ok());
    ASSERT_TRUE(wait_for(at(0), [&] { return other.send->sent() == 1; }));
  }
}

TEST_P(Conformance, AbortWhileMessagesFly) {
  make(2);
  for (uint64_t comm = 100; comm < 130; ++comm) {
    Pipe pipe = open_pipe(endpoints_, 0, 1, 0, comm);
    const int aborter = static_cast<int>(comm % 2);
    std::atomic<bool> aborted{false};
    std::vector<std::byte> out = pattern(comm, 500);
    run_ranks(3, [&](int rank) {
      if (rank == 2) {
        for (uint64_t i = 0; i < (comm - 100) * 20; ++i) std::this_thread::yield();
        at(aborter).abort(comm);
        aborted.store(true);
        return;
      }
      const iovec part = part_of(out);
      std::vector<std::byte> in(500);
      const iovec place = part_of(in);
      uint64_t landed = 0;
      if (rank == 1) pipe.recv->post_recv(&place, 1);
      ASSERT_TRUE(wait_for(at(rank), [&] {
        // What was seen before the call tells whether the call may still report something.
        const bool over = aborted.load();
        const bool knows = over && (GetParam().ends_at_once || rank == aborter);
        if (rank == 0) {
          const bool posted = pipe.send->post_send(nullptr, &part, 1);
          EXPECT_FALSE(knows && posted);
        } else if (pipe.recv->received() > landed) {
          EXPECT_FALSE(knows);
          EXPECT_EQ(in, out);
          ++landed;
          pipe.recv->post_recv(&place, 1);
        }
        return over && !(rank == 0 ? pipe.send->health() : pipe.recv->health()).ok();
      }));
    });
  }
}

TEST_P(Conformance, VanishedPeerIsNamed) {
  make(3);
  Pipe there = open(0, 1);
  Pipe back = open(1, 0);
  Pipe alive = open(0, 2);
  std::vector<std::byte> out = pattern(1, 4000);
  ASSERT_TRUE(send_bytes(at(0), *there.send, out));
  std::thread killer([&] {
    there.recv.reset();
    back.send.reset();
    endpoints_[1].reset();
  });
  Status seen;
  EXPECT_TRUE(wait_for(at(0), [&] {
    seen = there.send->health();
    return seen.text().find("gone") != std::string::npos;
  }));
  killer.join();
  EXPECT_EQ(seen.code(), Code::kRemoteError);
  EXPECT_NE(seen.text().find("peer 1"), std::string::npos) << seen.text();
  EXPECT_EQ(back.recv->health().code(), Code::kRemoteError);
  EXPECT_EQ(at(0).open_send(make_key(1, 9)).status().code(), Code::kRemoteError);
  std::vector<std::byte> few = pattern(3, 30);
  ASSERT_TRUE(send_bytes(at(0), *alive.send, few));
  EXPECT_EQ(take_message(at(2), *alive.recv, 30).data, few);
}

}  // namespace
}  // namespace tutti
