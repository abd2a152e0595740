// What every transport is tested with: a factory of endpoints, and helpers that drive channels.
//
// The suite (conformance_*_test.cc) is instantiated for the list of TransportCase that the test
// program defines (conformance_cases: inproc_cases.cc, mpi_test.cc). Ranks are endpoints of one
// process, driven by one thread or by one each. Every wait has a deadline and every test a hard
// limit: a hang is a failure, not a stuck run.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "comm/base/clock.h"
#include "comm/base/wait.h"
#include "transports/builtin.h"
#include "transports/decorators/fault.h"
#include "transports/transport.h"
#include "transports/waiter.h"

namespace tutti {

using Endpoints = std::vector<std::unique_ptr<Transport>>;

struct TransportCase {
  std::string name;
  std::function<Endpoints(int n)> make;  // n endpoints that are not connected yet
  bool offers_arrive = true;             // false: an offer may get lost on the way
  bool ends_at_once = true;  // false: peers learn of an abort or a closed end a little later
};

std::vector<TransportCase> conformance_cases();

// n endpoints of a transport that needs no domain.
inline Endpoints make_endpoints(const char* transport, int n) {
  Endpoints endpoints;
  for (int i = 0; i < n; ++i) {
    TransportContext context;
    context.number = i;
    context.nranks = n;
    auto made = make_transport(transport, context);
    EXPECT_TRUE(made.ok()) << made.status().text();
    if (!made.ok()) return {};
    endpoints.push_back(std::move(made.value()));
  }
  return endpoints;
}

// `inner` behind the fault decorator.
inline TransportCase with_faults(const TransportCase& inner, const std::string& name,
                                 const FaultOptions& options) {
  TransportCase c = inner;
  c.name = name;
  c.offers_arrive = inner.offers_arrive && options.hide_offer == 0;
  c.make = [make = inner.make, options](int n) {
    Endpoints endpoints;
    for (auto& endpoint : make(n)) {
      endpoints.push_back(std::make_unique<FaultTransport>(std::move(endpoint), options));
    }
    return endpoints;
  };
  return c;
}

// Late messages and calls that report nothing now and then.
inline FaultOptions shaky(uint64_t seed) {
  FaultOptions options;
  options.seed = seed;
  options.delay = 0.1;
  options.max_delay_polls = 5;
  options.stall = 0.2;
  return options;
}

inline void PrintTo(const TransportCase& c, std::ostream* out) { *out << c.name; }

// Endpoint i knows endpoint j as peer j.
inline void connect_all(const Endpoints& endpoints) {
  for (size_t i = 0; i < endpoints.size(); ++i) {
    for (size_t j = 0; j < endpoints.size(); ++j) {
      if (i == j) continue;
      const Status s = endpoints[i]->connect(static_cast<int>(j), endpoints[j]->address());
      ASSERT_TRUE(s.ok()) << s.text();
    }
  }
  for (const auto& endpoint : endpoints) {
    const Status s = endpoint->settle();
    ASSERT_TRUE(s.ok()) << s.text();
  }
}

// Polls `done` until it answers true; false when the deadline passed first.
template <typename Condition>
bool wait_for(Transport& transport, Condition done, int64_t limit_ms = 20'000) {
  const Deadline deadline = Deadline::after_ns(limit_ms * 1'000'000);
  // Several tests run at once: nobody may count on a core of its own, and a yield may cost a time
  // slice of everybody else, where a nap is sure to end.
  WaitRungs rungs = rungs_for(transport.capabilities().rungs, {2, 1});
  rungs.yields = std::min(rungs.yields, 20u);
  Waiter waiter(transport, rungs);
  while (!done()) {
    if (waiter.tick() && deadline.expired(now_ns())) return false;
    transport.progress();
  }
  return true;
}

// Runs fn(rank) on a thread per rank.
template <typename Function>
void run_ranks(int n, Function fn) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < n; ++rank) threads.emplace_back([&fn, rank] { fn(rank); });
  for (std::thread& thread : threads) thread.join();
}

inline ChannelKey make_key(int peer, uint64_t order = 0, uint64_t comm = 1) {
  return ChannelKey{comm, 0, Plane::kCollective, peer, order};
}

// A channel from one endpoint to another, both ends held.
struct Pipe {
  std::unique_ptr<SendChannel> send;
  std::unique_ptr<RecvChannel> recv;
};

inline Pipe open_pipe(const Endpoints& endpoints, int from, int to, uint64_t order = 0,
                      uint64_t comm = 1) {
  Pipe pipe;
  auto send = endpoints[from]->open_send(make_key(to, order, comm));
  auto recv = endpoints[to]->open_recv(make_key(from, order, comm));
  EXPECT_TRUE(send.ok()) << send.status().text();
  EXPECT_TRUE(recv.ok()) << recv.status().text();
  if (send.ok()) pipe.send = std::move(send.value());
  if (recv.ok()) pipe.recv = std::move(recv.value());
  return pipe;
}

// Bytes that depend on the seed and on where they are.
inline std::vector<std::byte> pattern(uint64_t seed, size_t bytes) {
  std::vector<std::byte> out(bytes);
  uint64_t word = seed * 0x9e3779b97f4a7c15 + 1;
  for (size_t i = 0; i < bytes; i += sizeof(word)) {
    word = word * 6364136223846793005 + 1442695040888963407;
    std::memcpy(out.data() + i, &word, std::min(sizeof(word), bytes - i));
  }
  return out;
}

inline iovec part_of(std::vector<std::byte>& bytes) { return {bytes.data(), bytes.size()}; }

// Zeros that peers may reach, of a transport that outlives it.
class Block {
 public:
  Block(Transport& transport, size_t bytes) : transport_(transport), bytes_(bytes) {
    auto made = transport.alloc(bytes);
    EXPECT_TRUE(made.ok()) << made.status().text();
    if (!made.ok()) return;
    data_ = static_cast<std::byte*>(made.value());
    std::memset(data_, 0, bytes);
  }
  ~Block() { transport_.free(data_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  std::byte* data() const { return data_; }
  iovec part() const { return {data_, bytes_}; }
  std::vector<std::byte> copy() const { return {data_, data_ + bytes_}; }

 private:
  Transport& transport_;
  const size_t bytes_;
  std::byte* data_ = nullptr;
};

// Posts the bytes as one part, waiting for room. They stay borrowed.
inline bool send_bytes(Transport& transport, SendChannel& channel, std::vector<std::byte>& bytes,
                       const OpHeader* header = nullptr) {
  const iovec part = part_of(bytes);
  return wait_for(transport, [&] { return channel.post_send(header, &part, 1); });
}

struct Taken {
  bool arrived = false;
  bool placed = false;
  bool has_header = false;
  OpHeader header = {};
  std::vector<std::byte> data;  // of a placed message: empty
};

inline void note(const Message& message, Taken* out) {
  out->arrived = true;
  out->placed = message.placed;
  out->has_header = message.header != nullptr;
  if (out->has_header) out->header = *message.header;
}

// Takes the next message by post_recv.
inline Taken land_message(Transport& transport, RecvChannel& channel, size_t bytes) {
  Taken out;
  std::vector<std::byte> data(bytes);
  const iovec part = part_of(data);
  const uint64_t number = channel.received();
  channel.post_recv(&part, 1);
  if (!wait_for(transport, [&] { return channel.received() > number; })) return out;
  note(channel.last(), &out);
  EXPECT_EQ(channel.last().bytes, bytes);
  if (!out.placed) out.data = std::move(data);
  return out;
}

// What a message that view() shows says, wherever it lies.
inline std::vector<std::byte> bytes_of(RecvChannel& channel, const Message& message) {
  std::vector<std::byte> out(message.bytes);
  if (message.parts == nullptr) {
    // In two pieces, the second first.
    const size_t half = message.bytes / 2;
    EXPECT_TRUE(channel.fetch(half, out.data() + half, message.bytes - half).ok());
    EXPECT_TRUE(channel.fetch(0, out.data(), half).ok());
    return out;
  }
  std::byte* to = out.data();
  for (int i = 0; i < message.nparts; ++i) {
    if (message.parts[i].iov_len == 0) continue;
    std::memcpy(to, message.parts[i].iov_base, message.parts[i].iov_len);
    to += message.parts[i].iov_len;
  }
  return out;
}

// Takes the next message, of `bytes` bytes: by view where there is one, else by post_recv.
inline Taken take_message(Transport& transport, RecvChannel& channel, size_t bytes) {
  if (!transport.capabilities().view) return land_message(transport, channel, bytes);
  Taken out;
  const Message* message = nullptr;
  if (!wait_for(transport, [&] { return (message = channel.view()) != nullptr; })) return out;
  note(*message, &out);
  EXPECT_EQ(message->bytes, bytes);
  if (!out.placed) out.data = bytes_of(channel, *message);
  channel.release();
  return out;
}

class Conformance : public testing::TestWithParam<TransportCase> {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override { alarm(0); }
  // n endpoints, all connected.
  void make(int n) {
    endpoints_ = GetParam().make(n);
    connect_all(endpoints_);
    caps_ = endpoints_[0]->capabilities();
  }
  Transport& at(int rank) { return *endpoints_[static_cast<size_t>(rank)]; }
  Pipe open(int from, int to, uint64_t order = 0) { return open_pipe(endpoints_, from, to, order); }

  Endpoints endpoints_;
  Capabilities caps_ = {};
};

}  // namespace tutti
