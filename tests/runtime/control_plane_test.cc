// Control planes of several "processes" in this one, joined by the loopback.
#include "comm/runtime/control_plane.h"

#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <unistd.h>
#include <vector>

#include "comm/base/clock.h"
#include "comm/runtime/net_control.h"

namespace tutti {
namespace {

constexpr uint64_t kComm = 77;

class ControlPlaneTest : public testing::Test {
 protected:
  void SetUp() override {
    alarm(100);
    std::vector<SocketAddress> addresses;
    for (int r = 0; r < kRanks; ++r) {
      planes_.push_back(std::make_unique<ControlPlane>());
      auto address = planes_.back()->listen(SocketAddress::parse("127.0.0.1:0").value(), {}, Log());
      ASSERT_TRUE(address.ok()) << address.status().text();
      addresses.push_back(address.value());
    }
    for (int r = 0; r < kRanks; ++r) {
      auto world = std::make_shared<World>();
      world->id = 5;
      world->rank = r;
      world->secret = Secret{1, 2, 3};
      world->control = addresses;
      worlds_.push_back(world);
      planes_[static_cast<size_t>(r)]->enter(world);
    }
  }
  void TearDown() override { alarm(0); }

  // `members`: world ranks; the communicator's rank of `world_rank` is its place among them.
  std::unique_ptr<NetControl> control(int world_rank, std::vector<int> members = {0, 1, 2},
                                      uint64_t comm = kComm) {
    const auto at = static_cast<size_t>(world_rank);
    Membership m;
    m.comm = comm;
    while (members[static_cast<size_t>(m.rank)] != world_rank) ++m.rank;
    m.members = std::move(members);
    m.world = worlds_[at];
    return std::make_unique<NetControl>(*planes_[at], std::move(m));
  }

  template <typename Condition>
  static bool soon(Condition condition) {
    const Deadline deadline = Deadline::after_ns(30'000'000'000);
    while (!condition()) {
      if (deadline.expired(now_ns())) return false;
      std::this_thread::yield();
    }
    return true;
  }

  static CallRecord call(uint64_t sequence, uint64_t count) {
    CallRecord r;
    r.sequence = sequence;
    r.count = count;
    r.fingerprint = count * 3;
    return r;
  }

  static constexpr int kRanks = 3;
  std::vector<std::unique_ptr<ControlPlane>> planes_;
  std::vector<std::shared_ptr<const World>> worlds_;
  KeyRing no_keys_;
};

TEST_F(ControlPlaneTest, AFailureReachesEverybody) {
  auto a = control(0), b = control(1), c = control(2);
  EXPECT_FALSE(b->failed());
  a->fail(Code::kTimeout, "rank 0 of 3: waited too long");
  ASSERT_TRUE(soon([&] { return b->failed() && c->failed(); }));
  EXPECT_EQ(b->failure()->rank, 0);
  EXPECT_EQ(c->failure()->code, Code::kTimeout);
  EXPECT_EQ(c->failure()->text, "rank 0 of 3: waited too long");
}

TEST_F(ControlPlaneTest, AFailureWaitsForWhoeverComesLate) {
  auto a = control(0), b = control(1);
  a->fail(Code::kAborted, "rank 0 called abort");
  ASSERT_TRUE(soon([&] { return b->failed(); }));
  auto c = control(2);
  ASSERT_TRUE(soon([&] { return c->failed(); }));
  EXPECT_EQ(c->failure()->code, Code::kAborted);
}

TEST_F(ControlPlaneTest, CallsAreFetchedWhenAskedFor) {
  auto a = control(0), b = control(1), c = control(2);
  for (uint64_t s = 0; s < 40; ++s) b->publish(call(s, s + 100));
  c->publish(call(0, 7));
  EXPECT_FALSE(a->last_call_of(1).has_value());
  a->refresh();
  ASSERT_TRUE(a->last_call_of(1).has_value());
  EXPECT_EQ(a->last_call_of(1)->sequence, 39u);
  EXPECT_EQ(a->call_of(1, 8)->count, 108u);
  EXPECT_FALSE(a->call_of(1, 7).has_value()) << "only the last 32 are remembered";
  EXPECT_EQ(a->call_of(2, 0)->count, 7u);
  b->publish(call(40, 1));
  a->refresh();
  EXPECT_EQ(a->last_call_of(1)->sequence, 40u);
}

TEST_F(ControlPlaneTest, PresenceIsAnnouncedBeforeOrAfter) {
  auto a = control(0);
  EXPECT_TRUE(a->present(0));
  EXPECT_FALSE(a->present(1));
  a->announce();
  auto b = control(1);  // after the announcement of 0 was sent
  b->announce();
  EXPECT_TRUE(soon([&] { return a->present(1) && b->present(0); }));
  EXPECT_FALSE(a->present(2));
}

TEST_F(ControlPlaneTest, RanksOfASubgroupAreTranslated) {
  auto first = control(2, {2, 0}, 8), second = control(0, {2, 0}, 8);
  second->fail(Code::kMismatch, "no");
  ASSERT_TRUE(soon([&] { return first->failed(); }));
  EXPECT_EQ(first->failure()->rank, 1);
}

TEST_F(ControlPlaneTest, OneThatLeavesInGoodOrder) {
  auto a = control(0), b = control(1), c = control(2);
  a->watch(1);
  ASSERT_TRUE(soon([&] {
    a->refresh();
    return a->present(1);
  }));
  b.reset();
  ASSERT_TRUE(soon([&] { return a->left(-1); }));
  EXPECT_EQ(a->why_left(1), "it destroyed its communicator");
  EXPECT_FALSE(a->left(1)) << "what it has sent may still be on its way";
  EXPECT_FALSE(a->left(2));
  ASSERT_TRUE(soon([&] { return a->left(1); }));
}

TEST_F(ControlPlaneTest, OneThatHasLeftBeforeAnybodyAsked) {
  auto a = control(0);
  control(1).reset();
  a->watch(1);
  ASSERT_TRUE(soon([&] { return a->left(-1); }));
  EXPECT_EQ(a->why_left(1), "it destroyed its communicator");
}

// Its word about the failure waits for a link that does not stand yet, its end goes out on one that
// does.
TEST_F(ControlPlaneTest, OneThatLeavesAfterAFailureIsNotTakenForTheCause) {
  // Takes connections for rank 1, and never answers.
  auto silent = Listener::open(SocketAddress::parse("127.0.0.1:0").value(), {}, no_keys_, Log());
  ASSERT_TRUE(silent.ok()) << silent.status().text();
  auto astray = std::make_shared<World>(*worlds_[0]);
  astray->control[1] = silent.value()->address();
  worlds_[0] = astray;
  auto a = control(0), b = control(1);
  a->watch(1);  // a link that is being made from now on
  b->watch(0);  // and one the other way, which stands
  ASSERT_TRUE(soon([&] { return b->present(0); }));
  a->fail(Code::kRemoteError, "rank 0 of 3: peer 2 is gone");
  a.reset();
  ASSERT_TRUE(soon([&] { return b->left(-1); }));
  ASSERT_TRUE(b->failed()) << "a rank that looks now blames rank 0";
  EXPECT_EQ(b->failure()->code, Code::kRemoteError);
  EXPECT_EQ(b->failure()->text, "rank 0 of 3: peer 2 is gone");
}

// A process that ends has said why on one of two links, and the other one breaks first.
TEST_F(ControlPlaneTest, OneThatEndsIsGoneWithItsLastLink) {
  auto b = control(1);
  const Patience patience{Deadline::after_ns(30'000'000'000)};
  const std::string hello = ControlHello{5, 0, 1}.encode();
  const auto link = [&] { return connect_to(worlds_[0]->control[1], {1, 2, 3}, hello, patience); };
  ControlMessage message;
  message.comm = kComm;
  auto first = link(), second = link();
  ASSERT_TRUE(first.ok() && second.ok());
  // An answer shows that the link stands.
  ASSERT_TRUE(first.value().send(ControlMessage::kAsk, message.encode(), patience).ok());
  ASSERT_TRUE(first.value().receive(patience).ok());
  { const Connection ends = std::move(first.value()); }
  message.set_failure({2, Code::kRemoteError, "rank 2 of 3: no memory"});
  ASSERT_TRUE(second.value().send(ControlMessage::kFailure, message.encode(), patience).ok());
  ASSERT_TRUE(soon([&] { return b->failed(); }));
  EXPECT_FALSE(b->left(-1)) << "a rank that had looked before would have blamed rank 0";
  EXPECT_EQ(b->failure()->rank, 2);
  { const Connection ends = std::move(second.value()); }
  ASSERT_TRUE(soon([&] { return b->left(-1); }));
  EXPECT_NE(b->why_left(0).find("its process has ended"), std::string::npos) << b->why_left(0);
}

TEST_F(ControlPlaneTest, AProcessThatEnds) {
  auto a = control(0), b = control(1);
  a->watch(1);
  a->refresh();
  planes_[1]->stop();  // as when its process dies: all its sockets close
  ASSERT_TRUE(soon([&] { return a->left(-1); }));
  EXPECT_NE(a->why_left(1).find("its process has ended"), std::string::npos) << a->why_left(1);
}

// It may have gone because of what a third rank is about to tell this one.
TEST_F(ControlPlaneTest, TheNewsMayComeAfterWhoeverWentForIt) {
  auto a = control(0), b = control(1), c = control(2);
  const int64_t begin = now_ns();
  planes_[1]->stop();
  a->watch(1);
  ASSERT_TRUE(soon([&] { return !a->may_explain(1); }));
  EXPECT_GE(now_ns() - begin, 200'000'000);
  EXPECT_TRUE(a->left(-1));
  EXPECT_TRUE(a->may_explain(2));
}

TEST_F(ControlPlaneTest, AProcessThatCannotBeReached) {
  auto a = control(0), b = control(1);
  planes_[1]->stop();
  a->watch(1);
  ASSERT_TRUE(soon([&] { return a->left(-1); }));
  EXPECT_NE(a->why_left(1).find("cannot be reached"), std::string::npos) << a->why_left(1);
  // Nobody waits for the answers of the dead.
  const int64_t begin = now_ns();
  a->refresh();
  EXPECT_LT(now_ns() - begin, 30'000'000'000);
}

TEST_F(ControlPlaneTest, OtherWorldsAreNotTouched) {
  auto a = control(0), b = control(1);
  auto other = std::make_shared<World>(*worlds_[1]);
  other->id = 6;
  planes_[1]->enter(other);
  Membership m;
  m.comm = kComm;
  m.rank = 1;
  m.members = {0, 1, 2};
  m.world = other;
  NetControl elsewhere(*planes_[1], m);
  a->fail(Code::kTimeout, "x");
  ASSERT_TRUE(soon([&] { return b->failed(); }));
  EXPECT_FALSE(elsewhere.failed());
  planes_[1]->exit(*other);
}

}  // namespace
}  // namespace tutti
