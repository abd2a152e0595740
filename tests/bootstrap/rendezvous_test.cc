// Ranks as threads that meet over TCP on the loopback, and everything that can go wrong there.
#include "comm/bootstrap/rendezvous.h"

#include <atomic>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "comm/bootstrap/tcp_exchange.h"

namespace tutti {
namespace {

const Secret kSecret = {4, 5, 6};

Patience patience(int64_t ms) { return {Deadline::after_ns(ms * 1'000'000), nullptr}; }

class RendezvousTest : public testing::Test {
 protected:
  void SetUp() override {
    alarm(100);
    auto opened =
        Rendezvous::open({SocketAddress::parse("127.0.0.1:0").value()}, {}, kSecret, Log());
    ASSERT_TRUE(opened.ok()) << opened.status().text();
    place_ = std::move(opened.value());
  }
  void TearDown() override { alarm(0); }
  Result<std::unique_ptr<TcpExchange>> join(int rank, int nranks, int64_t ms = 20'000,
                                            const Secret& secret = kSecret) {
    return TcpExchange::join(place_->addresses(), secret, rank, nranks, patience(ms));
  }
  std::unique_ptr<Rendezvous> place_;
};

TEST_F(RendezvousTest, ManyRanksSeveralRounds) {
  constexpr int kRanks = 16;
  std::vector<std::thread> ranks;
  std::atomic<int> good{0};
  for (int r = 0; r < kRanks; ++r) {
    ranks.emplace_back([&, r] {
      auto exchange = join(r, kRanks);
      if (!exchange.ok()) return;
      for (int round = 0; round < 3; ++round) {
        const auto all = exchange.value()->all_gather(
            std::string(static_cast<size_t>(r) * static_cast<size_t>(round) * 100, 'a'),
            patience(20'000));
        if (!all.ok()) return;
        for (int s = 0; s < kRanks; ++s) {
          if (all.value()[static_cast<size_t>(s)].size() ==
              static_cast<size_t>(s) * static_cast<size_t>(round) * 100) {
            ++good;
          }
        }
      }
    });
  }
  for (std::thread& t : ranks) t.join();
  EXPECT_EQ(good, 3 * kRanks * kRanks);
  const Deadline deadline = Deadline::after_ns(20'000'000'000);
  while (!place_->ended() && !deadline.expired(now_ns())) std::this_thread::yield();
  EXPECT_TRUE(place_->ended()) << "its port must be free again once all have met";
}

TEST_F(RendezvousTest, AbsentRanksAreNamedAtTheDeadline) {
  auto exchange = join(1, 4);
  ASSERT_TRUE(exchange.ok());
  const auto all = exchange.value()->all_gather("x", patience(50));
  EXPECT_EQ(all.status().code(), Code::kTimeout);
  EXPECT_NE(all.status().text().find("rank 1 of 4: ranks 0, 2, 3 did not join"), std::string::npos)
      << all.status().text();
}

TEST_F(RendezvousTest, AWrongSecretIsRefused) {
  const auto exchange = join(0, 2, 5000, Secret{7});
  EXPECT_EQ(exchange.status().code(), Code::kAuthFailed);
}

TEST_F(RendezvousTest, RanksThatDisagreeOnTheirNumber) {
  auto first = join(0, 2);
  ASSERT_TRUE(first.ok());
  auto second = join(1, 3);
  ASSERT_TRUE(second.ok());
  const auto one = second.value()->all_gather("x", patience(5000));
  EXPECT_EQ(one.status().code(), Code::kMismatch) << one.status().text();
  const auto other = first.value()->all_gather("x", patience(5000));
  EXPECT_EQ(other.status().code(), Code::kMismatch);
  EXPECT_NE(other.status().text().find("expects 3 ranks, others 2"), std::string::npos)
      << other.status().text();
}

TEST_F(RendezvousTest, TwoThatSayTheyAreTheSameRank) {
  auto first = join(0, 2);
  auto second = join(0, 2);
  ASSERT_TRUE(first.ok() && second.ok());
  for (auto* exchange : {&first, &second}) {
    const auto all = exchange->value()->all_gather("x", patience(5000));
    EXPECT_EQ(all.status().code(), Code::kInvalidUsage);
    EXPECT_NE(all.status().text().find("two processes say they are rank 0"), std::string::npos)
        << all.status().text();
  }
}

TEST_F(RendezvousTest, ARankThatLeavesIsNamed) {
  auto first = join(0, 2);
  ASSERT_TRUE(first.ok());
  {
    auto second = join(1, 2);
    ASSERT_TRUE(second.ok());
  }
  const auto all = first.value()->all_gather("x", patience(5000));
  EXPECT_EQ(all.status().code(), Code::kRemoteError);
  EXPECT_NE(all.status().text().find("rank 1 left while joining"), std::string::npos)
      << all.status().text();
  // Whoever comes later hears the same.
  auto late = join(1, 2);
  if (late.ok()) {
    EXPECT_EQ(late.value()->all_gather("x", patience(5000)).status().code(), Code::kRemoteError);
  }
}

TEST_F(RendezvousTest, ARankThatLeavesBetweenRoundsIsNamed) {
  auto first = join(0, 2);
  auto second = join(1, 2);
  ASSERT_TRUE(first.ok() && second.ok());
  std::thread other([&] { EXPECT_TRUE(second.value()->all_gather("b", patience(5000)).ok()); });
  EXPECT_TRUE(first.value()->all_gather("a", patience(5000)).ok());
  other.join();
  second.value().reset();
  const auto all = first.value()->all_gather("x", patience(5000));
  EXPECT_EQ(all.status().code(), Code::kRemoteError);
  EXPECT_NE(all.status().text().find("rank 1 left"), std::string::npos) << all.status().text();
}

TEST_F(RendezvousTest, NobodyThere) {
  const std::vector<SocketAddress> where = place_->addresses();
  place_.reset();
  const auto exchange = TcpExchange::join(where, kSecret, 1, 2, patience(100));
  ASSERT_FALSE(exchange.ok());
  EXPECT_NE(exchange.status().text().find(where[0].text()), std::string::npos)
      << exchange.status().text();
}

TEST_F(RendezvousTest, TheSecondCandidateAnswers) {
  // Nobody listens on the first one: a socket that is bound holds its port.
  const int held = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const SocketAddress any = SocketAddress::parse("127.0.0.1:0").value();
  ASSERT_EQ(bind(held, any.get(), any.length()), 0);
  sockaddr_storage bound = {};
  socklen_t length = sizeof bound;
  ASSERT_EQ(getsockname(held, reinterpret_cast<sockaddr*>(&bound), &length), 0);
  const SocketAddress silent(reinterpret_cast<sockaddr*>(&bound), length);
  const auto exchange =
      TcpExchange::join({silent, place_->addresses()[0]}, kSecret, 0, 1, patience(20'000));
  EXPECT_TRUE(exchange.ok()) << exchange.status().text();
  close(held);
}

TEST_F(RendezvousTest, AnOccupiedPortIsNamed) {
  const auto second = Rendezvous::open(place_->addresses(), {}, kSecret, Log());
  EXPECT_EQ(second.status().code(), Code::kSystemError);
  EXPECT_NE(second.status().text().find(place_->addresses()[0].text()), std::string::npos)
      << second.status().text();
}

}  // namespace
}  // namespace tutti
