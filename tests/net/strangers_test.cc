// A listener among strangers: scans, random bytes, idle connections, wrong secrets, no descriptors.
#include <algorithm>
#include <gtest/gtest.h>
#include <poll.h>
#include <random>
#include <sys/resource.h>
#include <vector>

#include "comm/net/handshake.h"
#include "comm/net/listener.h"
#include "tests/net/net_test.h"

namespace tutti {
namespace {

class StrangersTest : public NetTest {
 protected:
  std::vector<UniqueFd> connect_many(int count) {
    std::vector<UniqueFd> sockets;
    for (int i = 0; i < count; ++i) sockets.push_back(connect_plain(listener_->address()));
    return sockets;
  }
  void poll_at(int64_t now) {
    for (Accepted& accepted : listener_->poll(now)) accepted_.push_back(std::move(accepted));
  }
  bool readable(int wait_ms = 0) const {
    pollfd waited = {listener_->fd(), POLLIN, 0};
    return poll(&waited, 1, wait_ms) == 1;
  }
  void expect_good_client() {
    Result<Connection> client = dial(listener_.get(), secret_, "good");
    ASSERT_TRUE(client.ok()) << client.status().text();
    drive(listener_.get(), [&] { return !accepted_.empty(); });
    EXPECT_EQ(accepted_.back().hello, "good");
  }

  // Later than any timer of the listener can fire while the test runs.
  const int64_t later_ = now_ns() + 1000 * kSecond;
  std::unique_ptr<Listener> listener_;
  void SetUp() override {
    NetTest::SetUp();
    listener_ = open_listener();
  }
};

size_t count_ends(const std::vector<UniqueFd>& sockets) {
  return static_cast<size_t>(std::count_if(sockets.begin(), sockets.end(), [](const UniqueFd& fd) {
    return end_of(fd.get()) != End::kNone;
  }));
}

TEST_F(StrangersTest, RandomBytes) {
  std::mt19937 random(12345);
  std::vector<UniqueFd> sockets = connect_many(30);
  for (const UniqueFd& fd : sockets) {
    std::string bytes(1 + random() % 4000, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    write_plain(fd.get(), bytes);
  }
  drive(listener_.get(), [&] { return count_ends(sockets) == sockets.size(); });
  EXPECT_EQ(listener_->half_open(), 0u);
  EXPECT_EQ(log_lines(), 1u) << log_text();
  EXPECT_NE(log_text().find("127.0.0.1"), std::string::npos) << log_text();
  expect_good_client();
}

TEST_F(StrangersTest, NothingIsSaidToThem) {
  const std::vector<UniqueFd> sockets = connect_many(1);
  write_plain(sockets[0].get(), "GET / HTTP/1.0\r\n\r\n");
  std::string said;
  drive(listener_.get(), [&] { return end_of(sockets[0].get(), &said) != End::kNone; });
  EXPECT_EQ(said, "");
  EXPECT_NE(log_text().find("does not speak this protocol"), std::string::npos) << log_text();
}

TEST_F(StrangersTest, IdleConnectionsDoNotKeepAGoodClientOut) {
  const std::vector<UniqueFd> idle = connect_many(200);
  expect_good_client();
  EXPECT_LE(listener_->half_open(), Listener::kMaxHalfOpen);
  EXPECT_LE(log_lines(), 1u) << log_text();
}

TEST_F(StrangersTest, ConnectAndClose) {
  for (int i = 0; i < 3; ++i) connect_many(50);
  drive(listener_.get(), [&] { return !readable() && listener_->half_open() == 0; });
  EXPECT_EQ(log_lines(), 1u) << log_text();
  expect_good_client();
}

TEST_F(StrangersTest, WrongSecretsHaveOneLine) {
  for (int i = 0; i < 5; ++i) {
    const Status status = dial(listener_.get(), wrong_, "hello").status();
    EXPECT_EQ(status.code(), Code::kAuthFailed) << status.text();
  }
  EXPECT_EQ(log_lines(), 1u) << log_text();
  EXPECT_NE(log_text().find("does not know the secret"), std::string::npos) << log_text();
  EXPECT_TRUE(accepted_.empty());
  expect_good_client();
}

TEST_F(StrangersTest, AReplayedHandshake) {
  // The whole of a good client's words, recorded.
  const UniqueFd good = connect_plain(listener_->address());
  ClientHandshake client(secret_, "", {1, 2, 3});
  std::string recorded = client.take_outgoing();
  write_plain(good.get(), recorded);
  std::string said;
  drive(listener_.get(), [&] {
    EXPECT_EQ(end_of(good.get(), &said), End::kNone);
    return said.size() == 24;
  });
  ASSERT_TRUE(client.feed(said).ok());
  const std::string proof = client.take_outgoing();
  write_plain(good.get(), proof);
  drive(listener_.get(), [&] { return accepted_.size() == 1; });
  recorded += proof;
  const UniqueFd stranger = connect_plain(listener_->address());
  write_plain(stranger.get(), recorded);
  drive(listener_.get(), [&] { return end_of(stranger.get()) != End::kNone; });
  EXPECT_EQ(accepted_.size(), 1u);
  EXPECT_EQ(log_lines(), 1u) << log_text();
}

TEST_F(StrangersTest, EachSourceHasItsLine) {
  for (int host = 1; host <= 3; ++host) {
    for (int i = 0; i < 2; ++i) {
      const std::string source = "127.0.0." + std::to_string(host) + ":0";
      const UniqueFd fd = connect_plain(listener_->address(), source);
      write_plain(fd.get(), "x");
      drive(listener_.get(), [&] { return end_of(fd.get()) != End::kNone; });
    }
  }
  EXPECT_EQ(log_lines(), 3u) << log_text();
}

TEST_F(StrangersTest, TooManySourcesForTheLog) {
  constexpr int kSources = 300;
  std::vector<UniqueFd> sockets;
  for (int i = 0; i < kSources; ++i) {
    const std::string source =
        "127.0." + std::to_string(i / 100) + "." + std::to_string(1 + i % 100) + ":0";
    sockets.push_back(connect_plain(listener_->address(), source));
    write_plain(sockets.back().get(), "x");
  }
  drive(listener_.get(), [&] { return count_ends(sockets) == kSources; });
  EXPECT_EQ(log_lines(), 257u);
  EXPECT_NE(log_text().find("no more lines about them"), std::string::npos);
}

TEST_F(StrangersTest, AHandshakeHasADeadline) {
  const std::vector<UniqueFd> idle = connect_many(2);
  write_plain(idle[1].get(), "TUTI");
  poll_at(later_);
  ASSERT_EQ(listener_->half_open(), 2u);
  poll_at(later_ + Listener::kHandshakeNs - 1);
  EXPECT_EQ(listener_->half_open(), 2u);
  EXPECT_EQ(count_ends(idle), 0u);
  poll_at(later_ + Listener::kHandshakeNs);
  EXPECT_EQ(listener_->half_open(), 0u);
  EXPECT_EQ(end_of(idle[0].get()), End::kReset);
  EXPECT_EQ(end_of(idle[1].get()), End::kReset);
  EXPECT_NE(log_text().find("has not proved the secret in time"), std::string::npos);
}

TEST_F(StrangersTest, TheDescriptorWakesForADeadline) {
  const std::vector<UniqueFd> idle = connect_many(1);
  // As if it had come long ago: 20 ms are left.
  poll_at(now_ns() - Listener::kHandshakeNs + 20 * kMs);
  ASSERT_EQ(listener_->half_open(), 1u);
  ASSERT_TRUE(readable(20'000));
  drive(listener_.get(), [&] { return listener_->half_open() == 0; });
  EXPECT_FALSE(readable());
}

TEST_F(StrangersTest, TheOldestGivesWay) {
  constexpr size_t kMore = 6;
  const std::vector<UniqueFd> idle = connect_many(Listener::kMaxHalfOpen + kMore);
  poll_at(later_);
  EXPECT_EQ(listener_->half_open(), Listener::kMaxHalfOpen);
  EXPECT_EQ(count_ends(idle), 0u);
  EXPECT_FALSE(readable()) << "no spinning while the others wait";
  poll_at(later_ + Listener::kGraceNs - 1);
  EXPECT_EQ(count_ends(idle), 0u);
  poll_at(later_ + Listener::kGraceNs);
  EXPECT_EQ(listener_->half_open(), Listener::kMaxHalfOpen);
  for (size_t i = 0; i < idle.size(); ++i) {
    EXPECT_EQ(end_of(idle[i].get()), i < kMore ? End::kReset : End::kNone) << i;
  }
  EXPECT_EQ(log_lines(), 1u) << log_text();
}

// Lowers the limit of descriptors to those in use while it lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const UniqueFd next(dup(0));
    EXPECT_TRUE(next.valid());
    const rlimit lower = {static_cast<rlim_t>(next.get()), before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  }
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_;
};

TEST_F(StrangersTest, OutOfDescriptors) {
  // Everything once before: the first time, UBSan needs a descriptor to look at an object's type.
  connect_many(1);
  drive(listener_.get(), [&] { return log_lines() == 1 && !readable(); });
  poll_at(now_ns());
  Dial waiting(listener_->address(), secret_, "patient");
  {
    const NoDescriptors none;
    for (int i = 0; i < 3; ++i) {
      poll_at(later_ + i);
      EXPECT_FALSE(readable()) << "no spinning on a connection that cannot be accepted";
    }
    poll_at(later_ + 2 * kSecond);
  }
  EXPECT_EQ(log_lines(), 2u) << log_text();
  EXPECT_NE(log_text().find("too many open files"), std::string::npos) << log_text();
  poll_at(later_ + 2 * kSecond + 1);
  EXPECT_EQ(listener_->half_open(), 0u) << "it rests for a second";
  for (int i = 0; i < 1000 && accepted_.empty(); ++i) {
    ASSERT_TRUE(waiting.step().ok());
    poll_at(later_ + 4 * kSecond);
  }
  ASSERT_EQ(accepted_.size(), 1u);
  EXPECT_EQ(accepted_[0].hello, "patient");
}

}  // namespace
}  // namespace tutti
