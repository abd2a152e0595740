// The conformance suite over the gloo module, endpoints of one process, and what gloo promises
// beyond the seam: large messages, which go another way, ends with such messages under way, bytes
// that are no address, peers that are not there.
#include <algorithm>
#include <csignal>

#include "tests/transports/conformance.h"
#include "transports/builtin.h"

namespace tutti {
namespace {

// Longer messages wait for the receiver to say where they go.
constexpr size_t kEagerBytes = 131'072;

Endpoints make_gloo(int n) { return make_endpoints("gloo", n); }

class Gloo : public testing::Test {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override { alarm(0); }
  void make(int n) {
    endpoints_ = make_gloo(n);
    connect_all(endpoints_);
  }
  Transport& at(int rank) { return *endpoints_[static_cast<size_t>(rank)]; }
  Pipe open(int from, int to, uint64_t order = 0, uint64_t comm = 1) {
    return open_pipe(endpoints_, from, to, order, comm);
  }
  bool settles(const SendChannel& channel, Code code) {
    return wait_for(at(0), [&] { return channel.health().code() == code; });
  }

  Endpoints endpoints_;
};

TEST_F(Gloo, LargeMessagesOfEveryShape) {
  make(2);
  Pipe pipe = open(0, 1);
  uint64_t n = 0;
  for (size_t bytes : {kEagerBytes - 1, kEagerBytes, kEagerBytes + 1, size_t{262'144},
                       size_t{1'000'003}, size_t{5'000'000}}) {
    for (int shape = 0; shape < 4; ++shape) {
      std::vector<std::byte> out = pattern(bytes, bytes);
      std::vector<std::byte> in(bytes);
      const size_t cut = bytes / 3;
      const iovec from[] = {{out.data(), cut}, {out.data() + cut, bytes - cut}};
      const iovec whole_from = part_of(out);
      const iovec to[] = {{nullptr, 0}, {in.data(), bytes - cut}, {in.data() + bytes - cut, cut}};
      const iovec whole_to[] = {{nullptr, 0}, part_of(in)};
      const bool cut_from = (shape & 1) != 0;
      const bool cut_to = (shape & 2) != 0;
      const OpHeader header{1, 2, n};
      if (n % 2 == 0) pipe.recv->post_recv(cut_to ? to : whole_to, cut_to ? 3 : 2);
      ASSERT_TRUE(wait_for(at(0), [&] {
        return pipe.send->post_send(&header, cut_from ? from : &whole_from, cut_from ? 2 : 1);
      }));
      if (n % 2 == 1) pipe.recv->post_recv(cut_to ? to : whole_to, cut_to ? 3 : 2);
      ASSERT_TRUE(wait_for(at(1), [&] { return pipe.recv->received() == n + 1; }));
      EXPECT_EQ(in, out) << bytes << " bytes, shape " << shape;
      EXPECT_EQ(pipe.recv->last().bytes, bytes);
      ASSERT_NE(pipe.recv->last().header, nullptr);
      EXPECT_EQ(pipe.recv->last().header->fingerprint, n);
      ++n;
      ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == n; }));
    }
  }
}

TEST_F(Gloo, LargeMessagesKeepTheirOrderAmongSmallOnes) {
  make(3);
  constexpr uint64_t kMessages = 150;
  const auto bytes_of = [](uint64_t n) { return n % 3 == 0 ? 200'000 + n : n * 50; };
  run_ranks(3, [&](int rank) {
    const int next = (rank + 1) % 3;
    const int previous = (rank + 2) % 3;
    std::vector<Pipe> pipes(2);
    for (uint64_t order : {0, 1}) {
      pipes[order].send = std::move(at(rank).open_send(make_key(next, order)).value());
      pipes[order].recv = std::move(at(rank).open_recv(make_key(previous, order)).value());
    }
    const uint32_t ahead = at(rank).capabilities().slots / 2;
    std::vector<std::vector<std::byte>> out(2 * (ahead + 1));  // lent until taken, `ahead` later
    for (uint64_t n = 0; n < kMessages + ahead; ++n) {
      for (uint64_t order : {0, 1}) {
        if (n < kMessages) {
          auto& buffer = out[n % (ahead + 1) * 2 + order];
          buffer = pattern(n * 6 + order * 3 + static_cast<uint64_t>(rank), bytes_of(n));
          ASSERT_TRUE(send_bytes(at(rank), *pipes[order].send, buffer));
        }
        if (n < ahead) continue;
        const uint64_t m = n - ahead;
        const Taken taken = land_message(at(rank), *pipes[order].recv, bytes_of(m));
        ASSERT_EQ(taken.data,
                  pattern(m * 6 + order * 3 + static_cast<uint64_t>(previous), bytes_of(m)))
            << m;
        ASSERT_TRUE(wait_for(at(rank), [&] { return pipes[order].send->sent() > m; }));
      }
    }
  });
}

TEST_F(Gloo, LargeMessageOfAnotherLengthIsNotWritten) {
  make(2);
  Pipe pipe = open(0, 1);
  std::vector<std::byte> out = pattern(1, 300'000);
  for (size_t room : {size_t{8}, size_t{299'999}, size_t{300'001}}) {
    std::vector<std::byte> in(room);
    const iovec part = part_of(in);
    const uint64_t number = pipe.recv->received();
    pipe.recv->post_recv(&part, 1);
    ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
    ASSERT_TRUE(wait_for(at(1), [&] { return pipe.recv->received() > number; }));
    EXPECT_EQ(pipe.recv->last().bytes, out.size());
    EXPECT_EQ(in, std::vector<std::byte>(room));
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == number + 1; }));
  }
  ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
  EXPECT_EQ(land_message(at(1), *pipe.recv, out.size()).data, out);
}

// After abort() nobody touches the memory, and what others send goes on, but for large messages.
TEST_F(Gloo, AbortTakesLargeMemoryBack) {
  for (int aborter : {0, 1}) {
    make(2);
    Pipe doomed = open(0, 1, 0, 5);
    Pipe other = open(0, 1, 0, 6);
    auto out = std::make_unique<std::vector<std::byte>>(pattern(1, 8'000'000));
    auto in = std::make_unique<std::vector<std::byte>>(out->size());
    const iovec from = part_of(*out);
    const iovec to = part_of(*in);
    doomed.recv->post_recv(&to, 1);
    ASSERT_TRUE(wait_for(at(0), [&] { return doomed.send->post_send(nullptr, &from, 1); }));
    // Until it is under way: the receiver has said where it goes.
    ASSERT_TRUE(wait_for(at(0), [&] {
      doomed.send->sent();
      doomed.recv->received();
      return in->front() == out->front();
    }));
    at(aborter).abort(5);
    (aborter == 0 ? out : in).reset();
    EXPECT_TRUE(wait_for(at(0), [&] { return !doomed.recv->health().ok(); }));
    EXPECT_TRUE(settles(*doomed.send, aborter == 0 ? Code::kAborted : Code::kRemoteError));
    at(1 - aborter).abort(5);
    in.reset();
    out.reset();
    std::vector<std::byte> small = pattern(2, 50'000);
    ASSERT_TRUE(send_bytes(at(0), *other.send, small));
    EXPECT_EQ(land_message(at(1), *other.recv, small.size()).data, small);
  }
}

TEST_F(Gloo, ClosingWithALargeMessageUnaskedForHarmsNobody) {
  make(2);
  Pipe closed = open(0, 1, 1);
  Pipe other = open(0, 1, 2);
  {
    std::vector<std::byte> out = pattern(1, 400'000);
    ASSERT_TRUE(send_bytes(at(0), *closed.send, out));
    ASSERT_TRUE(send_bytes(at(0), *closed.send, out));
    EXPECT_EQ(closed.send->sent(), 0u);
    closed.send.reset();
  }
  EXPECT_TRUE(wait_for(at(1), [&] { return !closed.recv->health().ok(); }));
  std::vector<std::byte> in(400'000);
  const iovec part = part_of(in);
  closed.recv->post_recv(&part, 1);
  EXPECT_EQ(closed.recv->received(), 0u);
  std::vector<std::byte> large = pattern(2, 700'000);
  ASSERT_TRUE(send_bytes(at(0), *other.send, large));
  EXPECT_EQ(land_message(at(1), *other.recv, large.size()).data, large);
}

TEST_F(Gloo, WhoSendsAndLeavesIsHeard) {
  for (int round = 0; round < 5; ++round) {
    make(2);
    Pipe pipe = open(0, 1);
    std::vector<std::vector<std::byte>> out;
    for (uint64_t i = 0; i < 12; ++i) out.push_back(pattern(i, i * 10'000));
    for (auto& buffer : out) {
      ASSERT_TRUE(send_bytes(at(0), *pipe.send, buffer));
      EXPECT_EQ(pipe.send->sent(), pipe.send->posted());
    }
    pipe.send.reset();
    endpoints_[0].reset();
    for (auto& buffer : out) {
      EXPECT_EQ(land_message(at(1), *pipe.recv, buffer.size()).data, buffer);
    }
    EXPECT_TRUE(wait_for(at(1), [&] { return !pipe.recv->health().ok(); }));
  }
}

TEST_F(Gloo, WhatIsNoAddressIsRefused) {
  endpoints_ = make_gloo(3);
  const std::string good = at(1).address();
  std::vector<std::string> bad = {"",
                                  "gloo",
                                  std::string(5000, '\xff'),
                                  at(2).address(),
                                  good + "x",
                                  good.substr(0, good.size() - 1),
                                  std::string(good.size(), '\0'),
                                  make_gloo(2)[1]->address()};
  for (size_t i = 0; i < 32; ++i) {  // every byte of the head but the unused ones
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ 0x40);
    if (i < 28) bad.push_back(changed);
  }
  std::string changed = good;
  changed[32] = 77;  // the address family of the piece for endpoint 0
  bad.push_back(changed);
  for (const std::string& address : bad) {
    EXPECT_EQ(at(0).connect(1, address).code(), Code::kInvalidArgument) << address.size();
  }
  EXPECT_EQ(at(0).connect(0, at(0).address()).code(), Code::kInvalidArgument);
  EXPECT_EQ(at(0).connect(3, good).code(), Code::kInvalidArgument);
  EXPECT_EQ(at(0).connect(-1, good).code(), Code::kInvalidArgument);
  EXPECT_EQ(at(0).open_send(make_key(1)).status().code(), Code::kInvalidUsage);
  EXPECT_TRUE(at(0).connect(1, good).ok());
  EXPECT_TRUE(at(0).connect(1, good).ok()) << "again";
  EXPECT_EQ(at(0).connect(1, make_gloo(3)[1]->address()).code(), Code::kInvalidUsage);
}

TEST_F(Gloo, ContextsThatMakeNoSense) {
  TransportContext context;
  context.nranks = 2;
  for (int number : {-1, 2}) {
    context.number = number;
    EXPECT_EQ(make_transport("gloo", context).status().code(), Code::kInvalidArgument);
  }
  context.number = 0;
  context.host = "203.0.113.1";  // of no interface
  const Status refused = make_transport("gloo", context).status();
  EXPECT_EQ(refused.code(), Code::kSystemError);
  EXPECT_NE(refused.text().find(context.host), std::string::npos) << refused.text();
  context.host = "localhost";  // a name
  EXPECT_EQ(make_transport("gloo", context).status().code(), Code::kInvalidArgument);
  context.host = "::1";
  const auto made = make_transport("gloo", context);
  EXPECT_TRUE(made.ok() || made.status().code() == Code::kSystemError) << made.status().text();
}

// Whoever listens waits for ever, whoever connects is told; neither blocks its caller.
TEST_F(Gloo, PeerThatIsGoneBeforeItConnects) {
  for (int round = 0; round < 4; ++round) {  // who listens depends on port numbers
    endpoints_ = make_gloo(2);
    const std::string address = at(1).address();
    endpoints_[1].reset();
    const int64_t start = now_ns();
    ASSERT_TRUE(at(0).connect(1, address).ok());
    auto opened = at(0).open_send(make_key(1));
    if (opened.ok()) {
      const Status health = opened.value()->health();
      EXPECT_TRUE(health.ok() || health.text().find("peer 1") != std::string::npos);
      EXPECT_FALSE(opened.value()->post_send(nullptr, nullptr, 0));
    }
    opened = error(Code::kAborted, "closed");
    endpoints_[0].reset();
    EXPECT_LT(now_ns() - start, 5'000'000'000);
  }
}

}  // namespace

std::vector<TransportCase> conformance_cases() {
  TransportCase gloo;
  gloo.name = "gloo";
  gloo.make = make_gloo;
  gloo.ends_at_once = false;
  return {gloo, with_faults(gloo, "gloo_fault_1", shaky(1)),
          with_faults(gloo, "gloo_fault_2", shaky(2))};
}

}  // namespace tutti
