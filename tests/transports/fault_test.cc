// The fault decorator does what its options say, and the same again for the same seed.
#include "transports/decorators/fault.h"

#include <gtest/gtest.h>

#include "tests/transports/conformance.h"
#include "transports/inproc/inproc.h"

namespace tutti {
namespace {

// Two connected endpoints; the options hold for the first only, or for both.
Endpoints make_pair(const FaultOptions& options, bool both = true) {
  auto domain = InprocDomain::create();
  Endpoints endpoints;
  for (int i = 0; i < 2; ++i) {
    std::unique_ptr<Transport> t = std::make_unique<InprocTransport>(domain, i);
    if (i == 0 || both) t = std::make_unique<FaultTransport>(std::move(t), options);
    endpoints.push_back(std::move(t));
  }
  connect_all(endpoints);
  return endpoints;
}

class Fault : public testing::Test {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override { alarm(0); }
};

// What a fixed sequence of calls answers, as text.
std::string behaviour(uint64_t seed) {
  FaultOptions options;
  options.seed = seed;
  options.delay = 0.3;
  options.stall = 0.3;
  options.hide_offer = 0.5;
  Endpoints endpoints = make_pair(options);
  Pipe pipe = open_pipe(endpoints, 0, 1);
  std::vector<std::byte> out = pattern(1, 1000);
  const iovec part = part_of(out);
  std::string seen;
  for (uint64_t i = 0; i < 500; ++i) {
    pipe.recv->offer(pipe.recv->received() + 1, out.data(), 1000, i);
    seen += pipe.send->place(1000, i) != nullptr ? 'P' : '.';
    seen += pipe.send->post_send(nullptr, &part, 1) ? 'p' : '.';
    if (pipe.recv->view() != nullptr) {
      seen += 'v';
      pipe.recv->release();
    }
    seen += std::to_string(pipe.send->sent());
  }
  return seen;
}

TEST_F(Fault, SameSeedSameBehaviour) {
  EXPECT_EQ(behaviour(1), behaviour(1));
  EXPECT_NE(behaviour(1), behaviour(2));
}

TEST_F(Fault, DelaysForSomePolls) {
  FaultOptions options;
  options.delay = 1;
  options.max_delay_polls = 1;
  Endpoints endpoints = make_pair(options);
  Pipe pipe = open_pipe(endpoints, 0, 1);
  std::vector<std::byte> out = pattern(1, 10);
  for (int n = 0; n < 10; ++n) {
    ASSERT_TRUE(send_bytes(*endpoints[0], *pipe.send, out));
    EXPECT_EQ(pipe.recv->view(), nullptr) << "hidden for one poll";
    EXPECT_NE(pipe.recv->view(), nullptr);
    EXPECT_NE(pipe.recv->view(), nullptr) << "what was shown stays";
    pipe.recv->release();
  }
}

TEST_F(Fault, DroppedMessageNeverArrivesNorAnythingAfterIt) {
  FaultOptions options;
  options.drop = DropRule{Plane::kCollective, 1, 3, 2};
  Endpoints endpoints = make_pair(options);
  Pipe pipe = open_pipe(endpoints, 0, 1, 3);
  Pipe other = open_pipe(endpoints, 0, 1, 4);
  std::vector<std::byte> out = pattern(1, 10);
  for (uint32_t i = 0; i < kRingSlots; ++i) {
    ASSERT_TRUE(send_bytes(*endpoints[0], *pipe.send, out));
    ASSERT_TRUE(send_bytes(*endpoints[0], *other.send, out));
  }
  EXPECT_EQ(pipe.send->posted(), kRingSlots);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(take_message(*endpoints[1], *pipe.recv, 10).data, out);
  for (int poll = 0; poll < 100; ++poll) {
    ASSERT_EQ(pipe.recv->view(), nullptr);
    ASSERT_EQ(pipe.send->sent(), 2u);
    ASSERT_EQ(pipe.send->place(100, 1), nullptr);
  }
  EXPECT_TRUE(send_bytes(*endpoints[0], *pipe.send, out));
  EXPECT_TRUE(send_bytes(*endpoints[0], *pipe.send, out));
  const iovec part = part_of(out);
  EXPECT_FALSE(pipe.send->post_send(nullptr, &part, 1)) << "the dropped ones hold their slots";
  EXPECT_TRUE(pipe.send->health().ok()) << "only a deadline can tell";
  for (uint32_t i = 0; i < kRingSlots; ++i) {
    EXPECT_EQ(take_message(*endpoints[1], *other.recv, 10).data, out);
  }
}

TEST_F(Fault, KilledEndpointIsGoneForItselfAndItsPeers) {
  for (uint64_t kill_at : {1, 5, 40}) {
    FaultOptions options;
    options.kill_at = kill_at;
    Endpoints endpoints = make_pair(options, false);
    Pipe pipe = open_pipe(endpoints, 0, 1);
    Pipe back = open_pipe(endpoints, 1, 0);
    std::vector<std::byte> out = pattern(1, 10);
    const iovec part = part_of(out);
    for (uint64_t call = 1; call < kill_at; ++call) {
      ASSERT_TRUE(pipe.send->post_send(nullptr, &part, 1)) << call;
      ASSERT_TRUE(pipe.send->health().ok());
      ASSERT_TRUE(back.send->health().ok());
    }
    EXPECT_FALSE(pipe.send->post_send(nullptr, &part, 1));
    EXPECT_EQ(pipe.send->posted(), kill_at - 1);
    EXPECT_EQ(back.recv->view(), nullptr);
    EXPECT_EQ(pipe.send->health().code(), Code::kAborted);
    EXPECT_EQ(back.recv->health().code(), Code::kAborted);
    EXPECT_EQ(pipe.recv->health().code(), Code::kRemoteError);
    EXPECT_EQ(back.send->health().code(), Code::kRemoteError);
    EXPECT_FALSE(endpoints[0]->open_send(make_key(1, 9)).ok());
  }
}

TEST_F(Fault, HidesCapabilities) {
  FaultOptions options;
  options.hide_view = true;
  options.hide_place = true;
  options.slots = 3;
  Endpoints endpoints = make_pair(options);
  const Capabilities& caps = endpoints[0]->capabilities();
  EXPECT_FALSE(caps.view);
  EXPECT_FALSE(caps.place);
  EXPECT_EQ(caps.slots, 3u);
  Pipe pipe = open_pipe(endpoints, 0, 1);
  std::vector<std::byte> out = pattern(1, 1000);
  const iovec part = part_of(out);
  pipe.recv->offer(0, out.data(), 1000, 1);
  EXPECT_EQ(pipe.send->place(1000, 1), nullptr);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pipe.send->post_send(nullptr, &part, 1));
  EXPECT_FALSE(pipe.send->post_send(nullptr, &part, 1));
  EXPECT_EQ(pipe.recv->view(), nullptr);
  EXPECT_EQ(land_message(*endpoints[1], *pipe.recv, 1000).data, out);
  EXPECT_TRUE(pipe.send->post_send(nullptr, &part, 1));
}

TEST_F(Fault, HidesOffersAtRandom) {
  FaultOptions options;
  options.hide_offer = 0.5;
  Endpoints endpoints = make_pair(options);
  Pipe pipe = open_pipe(endpoints, 0, 1);
  std::vector<std::byte> out = pattern(1, 100);
  int placed = 0;
  for (uint64_t n = 0; n < 200; ++n) {
    pipe.recv->offer(n, out.data(), 100, 1);
    placed += pipe.send->place(100, 1) != nullptr;
    ASSERT_TRUE(send_bytes(*endpoints[0], *pipe.send, out));
    ASSERT_TRUE(take_message(*endpoints[1], *pipe.recv, 100).arrived);
  }
  EXPECT_GT(placed, 60);
  EXPECT_LT(placed, 140);
}

}  // namespace
}  // namespace tutti
