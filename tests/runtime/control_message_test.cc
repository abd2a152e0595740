#include "comm/runtime/control_message.h"

#include <gtest/gtest.h>

namespace tutti {
namespace {

ControlMessage example() {
  ControlMessage m;
  m.type = ControlMessage::kState;
  m.comm = 0x1122334455667788;
  m.question = 9;
  m.presence = ControlMessage::Presence::kThere;
  m.rank = 3;
  m.code = Code::kTimeout;
  m.text = "rank 3 of 4: waited";
  CallRecord call;
  call.sequence = 70;
  call.fingerprint = ~uint64_t{0};
  call.count = 1u << 31;
  call.root = -1;
  call.algorithm = 2;
  m.calls.assign(32, call);
  return m;
}

TEST(ControlMessage, ComesBackAsItWas) {
  const ControlMessage m = example();
  const auto got = decode_control(m.type, m.encode());
  ASSERT_TRUE(got.ok()) << got.status().text();
  EXPECT_EQ(got.value().encode(), m.encode());
  EXPECT_EQ(got.value().type, m.type);
  EXPECT_EQ(got.value().calls.size(), 32u);
  EXPECT_EQ(got.value().calls[5].root, -1);
  EXPECT_EQ(got.value().text, m.text);
}

TEST(ControlMessage, NothingElseIsOne) {
  const std::string good = example().encode();
  for (size_t n = 0; n < good.size(); ++n) {
    ASSERT_FALSE(decode_control(ControlMessage::kState, good.substr(0, n)).ok()) << n;
  }
  EXPECT_FALSE(decode_control(ControlMessage::kState, good + 'x').ok());
  EXPECT_FALSE(decode_control(0, good).ok());
  EXPECT_FALSE(decode_control(6, good).ok());
}

TEST(ControlMessage, CallsThatMakeNoSenseAreRefused) {
  for (uint32_t what : {0xffu, 0xff00u, 0xff0000u}) {
    ControlMessage m = example();
    m.calls[31].what = what;
    EXPECT_FALSE(decode_control(m.type, m.encode()).ok()) << what;
  }
  ControlMessage m = example();
  m.calls[0].algorithm = 1'000'000;
  EXPECT_FALSE(decode_control(m.type, m.encode()).ok());
  m = example();
  m.calls.push_back(m.calls[0]);
  EXPECT_FALSE(decode_control(m.type, m.encode()).ok()) << "more calls than are remembered";
  // 33 calls announced, 32 there.
  const std::string bytes = m.encode();
  EXPECT_FALSE(decode_control(m.type, bytes.substr(0, bytes.size() - 40)).ok());
}

TEST(ControlHello, ComesBackAsItWas) {
  const auto hello = ControlHello::decode(ControlHello{5, 2, 7}.encode());
  ASSERT_TRUE(hello.ok());
  EXPECT_EQ(hello.value().world, 5u);
  EXPECT_EQ(hello.value().from, 2);
  EXPECT_EQ(hello.value().to, 7);
  EXPECT_FALSE(ControlHello::decode("").ok());
  EXPECT_FALSE(ControlHello::decode(ControlHello{5, 2, 7}.encode() + "x").ok());
}

}  // namespace
}  // namespace tutti
