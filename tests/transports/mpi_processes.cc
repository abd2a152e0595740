// The mpi module between the processes of a job: every process runs these tests, in this order.
// Run under mpirun (tests/transports/CMakeLists.txt); as a job of one process there is little to
// do.
#include <algorithm>
#include <numeric>
#include <random>

#include "tests/transports/conformance.h"
#include "transports/builtin.h"
#include "transports/module.h"

namespace tutti {
namespace {

// What all tests share: one endpoint per process, connected to all others.
struct Here {
  std::unique_ptr<ModuleJob> job;
  std::unique_ptr<Transport> transport;
};

Here& here() {
  static Here one;
  return one;
}

class JobEnvironment : public testing::Environment {
 public:
  void SetUp() override {
    alarm(100);
    auto module = open_module("mpi");
    ASSERT_TRUE(module.ok()) << module.status().text();
    auto job = module.value()->job();
    ASSERT_TRUE(job.ok()) << job.status().text();
    here().job = std::move(job.value());
    TransportContext context;
    context.number = here().job->rank();
    context.nranks = here().job->nranks();
    auto made = make_transport("mpi", context);
    ASSERT_TRUE(made.ok()) << made.status().text();
    here().transport = std::move(made.value());
    const std::string mine = here().transport->address();
    std::string all(mine.size() * static_cast<size_t>(context.nranks), '\0');
    ASSERT_TRUE(here().job->all_gather(mine.data(), all.data(), mine.size()).ok());
    for (int peer = 0; peer < context.nranks; ++peer) {
      if (peer == context.number) continue;
      const size_t at = static_cast<size_t>(peer) * mine.size();
      const Status s = here().transport->connect(peer, all.substr(at, mine.size()));
      ASSERT_TRUE(s.ok()) << s.text();
    }
  }

  void TearDown() override {
    const Status ended = here().transport->finalize();
    EXPECT_TRUE(ended.ok()) << ended.text();
    here().transport.reset();
    here().job.reset();
    alarm(0);
  }
};

testing::Environment* const kEnvironment =
    testing::AddGlobalTestEnvironment(std::make_unique<JobEnvironment>().release());

class MpiProcesses : public testing::Test {
 protected:
  Transport& transport() { return *here().transport; }
  int rank() { return here().job->rank(); }
  int nranks() { return here().job->nranks(); }
  uint32_t slots() { return transport().capabilities().slots; }
  std::unique_ptr<SendChannel> open_send(int peer, uint64_t order, uint64_t comm) {
    auto opened = transport().open_send(make_key(peer, order, comm));
    EXPECT_TRUE(opened.ok()) << opened.status().text();
    return opened.ok() ? std::move(opened.value()) : nullptr;
  }
  std::unique_ptr<RecvChannel> open_recv(int peer, uint64_t order, uint64_t comm) {
    auto opened = transport().open_recv(make_key(peer, order, comm));
    EXPECT_TRUE(opened.ok()) << opened.status().text();
    return opened.ok() ? std::move(opened.value()) : nullptr;
  }
};

constexpr size_t kLengths[] = {0,      1,      64,      3919,    3920,      3921,      7840, 31'360,
                               31'361, 65'536, 100'001, 500'000, 1'000'000, 5'000'000, 3};

TEST_F(MpiProcesses, RingOfManyLengths) {
  const int next = (rank() + 1) % nranks();
  const int previous = (rank() + nranks() - 1) % nranks();
  if (nranks() == 1) GTEST_SKIP() << "alone";
  auto send = open_send(next, 0, 1);
  auto recv = open_recv(previous, 0, 1);
  for (int round = 0; round < 5; ++round) {
    // All of them are under way at once, both ways between two processes.
    std::vector<std::vector<std::byte>> out;
    for (size_t bytes : kLengths)
      out.push_back(pattern(bytes + static_cast<size_t>(rank()), bytes));
    for (auto& buffer : out) {
      const OpHeader header{1, 2, buffer.size()};
      ASSERT_TRUE(send_bytes(transport(), *send, buffer, &header));
    }
    for (size_t bytes : kLengths) {
      const Taken taken = land_message(transport(), *recv, bytes);
      ASSERT_TRUE(taken.arrived) << bytes;
      ASSERT_TRUE(taken.has_header);
      EXPECT_EQ(taken.header.fingerprint, bytes);
      ASSERT_EQ(taken.data, pattern(bytes + static_cast<size_t>(previous), bytes)) << bytes;
    }
    ASSERT_TRUE(wait_for(transport(), [&] { return send->sent() == send->posted(); }));
  }
}

// Rank 0 sends to everyone at full speed, as many messages under way as there are slots.
TEST_F(MpiProcesses, ManyMessagesKeepTheirOrder) {
  constexpr uint64_t kMessages = 1500;
  const auto bytes_of = [](uint64_t n) { return n % 50 == 0 ? 50'000 + n : n * 37 % 9000; };
  if (rank() == 0) {
    std::vector<std::unique_ptr<SendChannel>> sends;
    std::vector<std::vector<std::byte>> lent(slots());
    for (int peer = 1; peer < nranks(); ++peer) sends.push_back(open_send(peer, 0, 2));
    for (uint64_t n = 0; n < kMessages; ++n) {
      auto& buffer = lent[n % slots()];
      for (auto& send : sends) {
        ASSERT_TRUE(wait_for(transport(), [&] { return send->sent() + slots() > n; })) << n;
      }
      buffer = pattern(n, bytes_of(n));
      for (auto& send : sends) ASSERT_TRUE(send_bytes(transport(), *send, buffer)) << n;
    }
    for (auto& send : sends) {
      ASSERT_TRUE(wait_for(transport(), [&] { return send->consumed() == kMessages; }));
    }
    return;
  }
  auto recv = open_recv(0, 0, 2);
  for (uint64_t n = 0; n < kMessages; ++n) {
    const Taken taken = land_message(transport(), *recv, bytes_of(n));
    ASSERT_TRUE(taken.arrived) << n;
    ASSERT_EQ(taken.data, pattern(n, bytes_of(n))) << n;
  }
}

// Every pair has many channels, read in an order of the reader's own; one more is full and unread
// until all others are done.
TEST_F(MpiProcesses, ManyChannelsAndOneThatNobodyReads) {
  constexpr uint64_t kChannels = 30;
  constexpr uint64_t kEach = 6;
  constexpr uint64_t kStuck = 1000;
  const auto bytes_of = [](uint64_t channel, uint64_t n) {
    return n % 3 == 2 ? 40'000 + channel : channel * 211;
  };
  const auto seed_of = [](int from, uint64_t channel, uint64_t n) {
    return static_cast<uint64_t>(from) * 1000 + channel * 10 + n;
  };
  std::vector<std::unique_ptr<SendChannel>> sends;
  std::vector<std::vector<std::byte>> lent;
  lent.reserve(static_cast<size_t>(nranks()) * (kChannels * kEach + slots()));
  for (int peer = 0; peer < nranks(); ++peer) {
    if (peer == rank()) continue;
    sends.push_back(open_send(peer, kStuck, 3));
    for (uint32_t i = 0; i < slots(); ++i) {
      lent.push_back(pattern(i, i % 2 == 0 ? 200'000 : 10));
      const iovec part = part_of(lent.back());
      ASSERT_TRUE(sends.back()->post_send(nullptr, &part, 1));
    }
    const iovec part = part_of(lent.back());
    ASSERT_FALSE(sends.back()->post_send(nullptr, &part, 1)) << "full";
    for (uint64_t channel = 0; channel < kChannels; ++channel) {
      sends.push_back(open_send(peer, channel, 3));
      for (uint64_t n = 0; n < kEach; ++n) {
        lent.push_back(pattern(seed_of(rank(), channel, n), bytes_of(channel, n)));
        ASSERT_TRUE(send_bytes(transport(), *sends.back(), lent.back()));
      }
    }
  }
  std::mt19937_64 random(static_cast<uint64_t>(rank()));
  for (int peer = 0; peer < nranks(); ++peer) {
    if (peer == rank()) continue;
    std::vector<uint64_t> order(kChannels);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    for (uint64_t channel : order) {
      auto recv = open_recv(peer, channel, 3);
      for (uint64_t n = 0; n < kEach; ++n) {
        const Taken taken = land_message(transport(), *recv, bytes_of(channel, n));
        ASSERT_TRUE(taken.arrived) << peer << " " << channel << " " << n;
        ASSERT_EQ(taken.data, pattern(seed_of(peer, channel, n), bytes_of(channel, n)));
      }
    }
  }
  for (int peer = 0; peer < nranks(); ++peer) {
    if (peer == rank()) continue;
    auto recv = open_recv(peer, kStuck, 3);
    for (uint32_t i = 0; i < slots(); ++i) {
      const size_t bytes = i % 2 == 0 ? 200'000 : 10;
      ASSERT_EQ(land_message(transport(), *recv, bytes).data, pattern(i, bytes));
    }
  }
  for (auto& send : sends) {
    ASSERT_TRUE(wait_for(transport(), [&] { return send->sent() == send->posted(); }));
  }
}

TEST_F(MpiProcesses, AbortReachesEveryoneAndOnlyItsCommunicator) {
  constexpr uint64_t kComm = 4;
  std::vector<std::byte> large = pattern(1, 300'000);
  std::vector<std::byte> in(300'000);
  const iovec out_part = part_of(large);
  const iovec in_part = part_of(in);
  if (rank() == 0) {
    std::vector<std::unique_ptr<SendChannel>> sends;
    std::vector<std::unique_ptr<RecvChannel>> ready;
    for (int peer = 1; peer < nranks(); ++peer) {
      sends.push_back(open_send(peer, 0, kComm));
      ready.push_back(open_recv(peer, 1, kComm));
    }
    std::vector<std::byte> token;
    for (auto& recv : ready) ASSERT_TRUE(land_message(transport(), *recv, 0).arrived);
    transport().abort(kComm);
    for (auto& send : sends) {
      EXPECT_EQ(send->health().code(), Code::kAborted);
      EXPECT_FALSE(send->post_send(nullptr, &out_part, 1));
    }
  } else {
    auto recv = open_recv(0, 0, kComm);
    auto ready = open_send(0, 1, kComm);
    auto unread = open_send(0, 2, kComm);
    recv->post_recv(&in_part, 1);
    ASSERT_TRUE(unread->post_send(nullptr, &out_part, 1));
    std::vector<std::byte> token;
    ASSERT_TRUE(send_bytes(transport(), *ready, token));
    Status seen;
    ASSERT_TRUE(wait_for(transport(), [&] {
      seen = recv->health();
      return !seen.ok();
    }));
    EXPECT_EQ(seen.code(), Code::kRemoteError);
    EXPECT_NE(seen.text().find("peer 0"), std::string::npos) << seen.text();
    EXPECT_EQ(recv->received(), 0u);
    EXPECT_EQ(unread->sent(), 0u);
    EXPECT_EQ(transport().open_send(make_key(0, 7, kComm)).status().code(), Code::kRemoteError);
    transport().abort(kComm);
    EXPECT_NE(unread->health().text().find("MPI may still read 300000 bytes"), std::string::npos)
        << unread->health().text();
  }
  // Others go on: everybody hears from everybody.
  std::vector<std::unique_ptr<SendChannel>> sends;
  std::vector<std::byte> few = pattern(7, 100);
  for (int peer = 0; peer < nranks(); ++peer) {
    if (peer == rank()) continue;
    sends.push_back(open_send(peer, 0, 5));
    ASSERT_TRUE(send_bytes(transport(), *sends.back(), few));
  }
  for (int peer = 0; peer < nranks(); ++peer) {
    if (peer == rank()) continue;
    auto recv = open_recv(peer, 0, 5);
    ASSERT_EQ(land_message(transport(), *recv, 100).data, few);
  }
  // `large` is lent for good: wait until nobody can read it, which is when all have come so far.
  ASSERT_TRUE(here().job->all_gather(few.data(), in.data(), 8).ok());
}

TEST_F(MpiProcesses, ChannelsOpenAndCloseAgainAndAgain) {
  const int next = (rank() + 1) % nranks();
  const int previous = (rank() + nranks() - 1) % nranks();
  if (nranks() == 1) GTEST_SKIP() << "alone";
  for (uint64_t i = 0; i < 500; ++i) {
    auto send = open_send(next, i % 3, 6);
    auto recv = open_recv(previous, i % 3, 6);
    ASSERT_TRUE(send != nullptr && recv != nullptr);
    std::vector<std::byte> out = pattern(i, i * 101 % 40'000);
    ASSERT_TRUE(send_bytes(transport(), *send, out)) << i << send->health().text();
    ASSERT_EQ(land_message(transport(), *recv, out.size()).data, out) << i;
    ASSERT_TRUE(wait_for(transport(), [&] { return send->sent() == 1; })) << i;
  }
}

}  // namespace
}  // namespace tutti
