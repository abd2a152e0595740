#include "comm/net/listener.h"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <poll.h>
#include <thread>
#include <vector>

#include "tests/net/net_test.h"

namespace tutti {
namespace {

class ListenerTest : public NetTest {
 protected:
  // What poll() on its descriptor says now.
  static bool readable(const Listener& listener, int wait_ms = 0) {
    pollfd waited = {listener.fd(), POLLIN, 0};
    return poll(&waited, 1, wait_ms) == 1;
  }
};

Result<std::unique_ptr<Listener>> open(std::string_view address, PortRange ports,
                                       const KeyRing& keys) {
  return Listener::open(address_of(address), ports, keys, Log());
}

TEST_F(ListenerTest, AGoodClientGetsThrough) {
  const std::unique_ptr<Listener> listener = open_listener();
  EXPECT_EQ(listener->address().host(), "127.0.0.1");
  EXPECT_NE(listener->address().port(), 0);
  Result<Connection> client = dial(listener.get(), secret_, "I am 3");
  ASSERT_TRUE(client.ok()) << client.status().text();
  drive(listener.get(), [&] { return !accepted_.empty(); });
  EXPECT_EQ(accepted_[0].hello, "I am 3");
  EXPECT_EQ(accepted_[0].key, key_id(secret_));
  EXPECT_EQ(accepted_[0].connection.peer().host(), "127.0.0.1");
  EXPECT_EQ(listener->half_open(), 0u);
  ASSERT_TRUE(client.value().send(1, "forth", patience_of(kSecond)).ok());
  EXPECT_EQ(accepted_[0].connection.receive(patience_of(20 * kSecond)).value().payload, "forth");
  ASSERT_TRUE(accepted_[0].connection.send(2, "back", patience_of(kSecond)).ok());
  EXPECT_EQ(client.value().receive(patience_of(20 * kSecond)).value().payload, "back");
  EXPECT_EQ(log_lines(), 0u) << log_text();
  EXPECT_FALSE(readable(*listener)) << "what is through is watched elsewhere";
}

TEST_F(ListenerTest, OverIpv6) {
  const Result<std::unique_ptr<Listener>> listener = open("[::1]:0", PortRange(), keys_);
  if (!listener.ok()) GTEST_SKIP() << listener.status().text();
  EXPECT_TRUE(dial(listener.value().get(), secret_, "").ok());
}

TEST_F(ListenerTest, Ipv6LeavesThePortToIpv4) {
  bool both = false;
  for (int i = 0; i < 20 && !both; ++i) {  // somebody else may have the one or the other port
    const Result<std::unique_ptr<Listener>> listener = open("[::]:0", PortRange(), keys_);
    if (!listener.ok()) GTEST_SKIP() << listener.status().text();
    const uint16_t port = listener.value()->address().port();
    both = open("0.0.0.0:" + std::to_string(port), PortRange(), keys_).ok();
  }
  EXPECT_TRUE(both);
}

TEST_F(ListenerTest, ManyClientsAtOnce) {
  const std::unique_ptr<Listener> listener = open_listener();
  std::vector<std::thread> clients;
  std::atomic<size_t> good = 0;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        good += connect_to(listener->address(), secret_, "x", patience_of(30 * kSecond)).ok();
      }
    });
  }
  drive(listener.get(), [&] { return accepted_.size() == 100; });
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(good, 100u);
  EXPECT_EQ(log_lines(), 0u) << log_text();
}

// More than fit into the handshake at once: they wait in the kernel's queue and none is refused.
TEST_F(ListenerTest, MoreClientsThanFit) {
  const std::unique_ptr<Listener> listener = open_listener();
  std::vector<std::unique_ptr<Dial>> dials;
  for (int i = 0; i < 150; ++i) {
    dials.push_back(std::make_unique<Dial>(listener->address(), secret_, "x"));
  }
  size_t good = 0;
  drive(listener.get(), [&] {
    for (std::unique_ptr<Dial>& dial : dials) {
      if (!dial) continue;
      Result<std::optional<Connection>> stepped = dial->step();
      EXPECT_TRUE(stepped.ok() || dial->may_pass()) << stepped.status().text();
      if (stepped.ok() && !stepped.value()) continue;
      good += stepped.ok();
      dial.reset();
    }
    return good == dials.size();
  });
  EXPECT_EQ(accepted_.size(), dials.size());
}

TEST_F(ListenerTest, AClientThatSendsSingleBytes) {
  const std::unique_ptr<Listener> listener = open_listener();
  const UniqueFd slow = connect_plain(listener->address());
  ClientHandshake client(secret_, "slow", {1, 2, 3});
  std::string to_send;
  drive(listener.get(), [&] {
    std::string said;
    EXPECT_EQ(end_of(slow.get(), &said), End::kNone);
    EXPECT_TRUE(client.feed(said).ok());
    to_send += client.take_outgoing();
    write_plain(slow.get(), to_send.substr(0, 1));
    if (!to_send.empty()) to_send.erase(0, 1);
    return client.done();
  });
  ASSERT_EQ(accepted_.size(), 1u);
  EXPECT_EQ(accepted_[0].hello, "slow");
}

TEST_F(ListenerTest, FramesThatComeTogetherWithTheHello) {
  const std::unique_ptr<Listener> listener = open_listener();
  const UniqueFd eager = connect_plain(listener->address());
  ClientHandshake client(secret_, "eager", {1, 2, 3});
  write_plain(eager.get(), client.take_outgoing());
  std::string said;
  drive(listener.get(), [&] {
    EXPECT_EQ(end_of(eager.get(), &said), End::kNone);
    return said.size() >= 24;
  });
  ASSERT_TRUE(client.feed(said).ok());
  std::string last = client.take_outgoing();
  append_frame(4, "early", &last);
  write_plain(eager.get(), last);
  drive(listener.get(), [&] { return !accepted_.empty(); });
  EXPECT_EQ(accepted_[0].connection.receive(patience_of(20 * kSecond)).value().payload, "early");
}

TEST_F(ListenerTest, AnOccupiedPortIsNamed) {
  const std::unique_ptr<Listener> first = open_listener();
  const SocketAddress taken = first->address();
  const Status exact = Listener::open(taken, PortRange(), keys_, Log()).status();
  EXPECT_EQ(exact.code(), Code::kSystemError);
  EXPECT_EQ(exact.text(), "cannot listen on " + taken.text() + ": address already in use");
  const PortRange one = {taken.port(), taken.port()};
  const Status range = open("127.0.0.1:0", one, keys_).status();
  const std::string port = std::to_string(taken.port());
  EXPECT_EQ(range.code(), Code::kSystemError);
  EXPECT_EQ(range.text(),
            "cannot listen on 127.0.0.1, ports " + port + "-" + port + ": address already in use");
}

TEST_F(ListenerTest, TheRangeIsTriedToItsEnd) {
  const std::unique_ptr<Listener> first = open_listener();
  const uint16_t taken = first->address().port();
  const auto low = static_cast<uint16_t>(std::min<int>(taken, 65535 - 30));
  const auto high = static_cast<uint16_t>(low + 30);
  std::vector<std::unique_ptr<Listener>> listeners;
  while (true) {
    Result<std::unique_ptr<Listener>> next = open("127.0.0.1:0", {low, high}, keys_);
    if (!next.ok()) {
      EXPECT_NE(next.status().text().find("address already in use"), std::string::npos);
      break;
    }
    const uint16_t port = next.value()->address().port();
    EXPECT_TRUE(port >= low && port <= high && port != taken) << port;
    listeners.push_back(std::move(next.value()));
    ASSERT_LE(listeners.size(), 31u);
  }
  EXPECT_GE(listeners.size(), 10u) << "most of the range is free on any machine";
  // An exact port does not look at the range.
  const uint16_t freed = listeners[0]->address().port();
  listeners.erase(listeners.begin());
  Result<std::unique_ptr<Listener>> exact =
      open("127.0.0.1:" + std::to_string(freed), {1, 1}, keys_);
  ASSERT_TRUE(exact.ok()) << exact.status().text();
  EXPECT_EQ(exact.value()->address().port(), freed);
}

TEST_F(ListenerTest, AnAddressThatIsNotOurs) {
  const Status status = open("192.0.2.77:0", {4000, 4100}, keys_).status();
  EXPECT_EQ(status.code(), Code::kSystemError);
  EXPECT_EQ(status.text(),
            "cannot listen on 192.0.2.77, ports 4000-4100: cannot assign requested address");
  EXPECT_EQ(Listener::open(SocketAddress(), PortRange(), keys_, Log()).status().code(),
            Code::kSystemError);
}

TEST_F(ListenerTest, ItsEndResetsWhoIsWaiting) {
  std::unique_ptr<Listener> listener = open_listener();
  const UniqueFd waiting = connect_plain(listener->address());
  drive(listener.get(), [&] { return listener->half_open() == 1; });
  listener.reset();
  EXPECT_EQ(end_of(waiting.get()), End::kReset);
}

}  // namespace
}  // namespace tutti
