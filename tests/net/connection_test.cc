#include "comm/net/connection.h"

#include <atomic>
#include <gtest/gtest.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <thread>

#include "tests/net/net_test.h"

namespace tutti {
namespace {

constexpr size_t kLarge = size_t{8} << 20;  // more than any socket buffers

class ConnectionTest : public NetTest {
 protected:
  Pair pair_ = connection_pair();
  Connection& first_ = pair_.first;
  Connection& second_ = pair_.second;
};

TEST_F(ConnectionTest, FramesArriveInOrder) {
  for (uint16_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(first_.send(i, std::string(i, 'x'), patience_of(kSecond)).ok());
  }
  for (uint16_t i = 0; i < 100; ++i) {
    Result<Frame> frame = second_.receive(patience_of(10 * kSecond));
    ASSERT_TRUE(frame.ok()) << frame.status().text();
    EXPECT_EQ(frame.value().type, i);
    EXPECT_EQ(frame.value().payload, std::string(i, 'x'));
  }
}

TEST_F(ConnectionTest, EarlyBytesComeFirst) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  const UniqueFd other(fds[1]);
  std::string bytes;
  append_frame(5, "early", &bytes);
  append_frame(6, "later", &bytes);
  Connection connection(UniqueFd(fds[0]), SocketAddress(), std::string_view(bytes).substr(0, 15));
  write_plain(other.get(), std::string_view(bytes).substr(15));
  EXPECT_EQ(connection.receive(patience_of(kSecond)).value().payload, "early");
  EXPECT_EQ(connection.receive(patience_of(kSecond)).value().payload, "later");
}

TEST_F(ConnectionTest, BothSidesSendMoreThanTheSocketTakes) {
  const std::string large(kLarge, 'x');
  std::thread other([&] {
    EXPECT_TRUE(second_.send(2, large, patience_of(20 * kSecond)).ok());
    EXPECT_EQ(second_.receive(patience_of(20 * kSecond)).value().payload.size(), kLarge);
  });
  const Status sent = first_.send(1, large, patience_of(20 * kSecond));
  EXPECT_TRUE(sent.ok()) << sent.text();
  const Result<Frame> got = first_.receive(patience_of(20 * kSecond));
  EXPECT_TRUE(got.ok() && got.value().payload == large) << got.status().text();
  other.join();
}

TEST_F(ConnectionTest, ForLoopsThatPoll) {
  EXPECT_FALSE(first_.has_unsent());
  first_.queue(1, std::string(kLarge, 'x'));
  first_.queue(2, "end");
  EXPECT_TRUE(first_.has_unsent());
  size_t got = 0;
  uint16_t last = 0;
  for (int i = 0; i < 100000 && last != 2; ++i) {
    ASSERT_TRUE(first_.flush().ok());
    ASSERT_TRUE(second_.fill().ok());
    while (true) {
      Result<std::optional<Frame>> frame = second_.next();
      ASSERT_TRUE(frame.ok()) << frame.status().text();
      if (!frame.value()) break;
      got += frame.value()->payload.size();
      last = frame.value()->type;
    }
  }
  EXPECT_EQ(last, 2);
  EXPECT_EQ(got, kLarge + 3);
  EXPECT_FALSE(first_.has_unsent());
}

TEST_F(ConnectionTest, ADeadlineEndsAReceive) {
  const int64_t start = now_ns();
  const Status status = first_.receive(patience_of(30 * kMs)).status();
  EXPECT_EQ(status.code(), Code::kTimeout);
  EXPECT_NE(status.text().find("192.0.2.1:1"), std::string::npos) << status.text();
  EXPECT_GE(now_ns() - start, 30 * kMs);
  // It is late, not broken.
  ASSERT_TRUE(second_.send(1, "late", patience_of(kSecond)).ok());
  EXPECT_EQ(first_.receive(patience_of(kSecond)).value().payload, "late");
}

TEST_F(ConnectionTest, WhatIsThereComesAfterTheDeadlineToo) {
  ASSERT_TRUE(second_.send(1, "there", patience_of(kSecond)).ok());
  EXPECT_EQ(first_.receive(patience_of(0)).value().payload, "there");
}

TEST_F(ConnectionTest, ASendThatTimedOutGoesOnLater) {
  const std::string large(kLarge, 'x');
  const Status status = first_.send(1, large, patience_of(20 * kMs));
  ASSERT_EQ(status.code(), Code::kTimeout) << status.text();
  EXPECT_TRUE(first_.has_unsent());
  std::thread other([&] {
    EXPECT_EQ(second_.receive(patience_of(20 * kSecond)).value().payload.size(), kLarge);
    EXPECT_EQ(second_.receive(patience_of(20 * kSecond)).value().payload, "next");
  });
  EXPECT_TRUE(first_.send(2, "next", patience_of(20 * kSecond)).ok());
  other.join();
}

TEST_F(ConnectionTest, AnAbortEndsAReceiveSoon) {
  int64_t best = INT64_MAX;  // of a few: this machine may be busy
  for (int i = 0; i < 5 && best > 150 * kMs; ++i) {
    std::atomic<bool> abort = false;
    std::atomic<int64_t> set_at = 0;
    std::thread other([&] {
      poll(nullptr, 0, 10);  // most likely it waits by then; right either way
      set_at = now_ns();
      abort.store(true, std::memory_order_release);  // pairs with the acquire of receive()
    });
    const Status status = first_.receive({Deadline::after_ns(20 * kSecond), &abort}).status();
    best = std::min(best, now_ns() - set_at);
    EXPECT_EQ(status.code(), Code::kAborted) << status.text();
    EXPECT_NE(status.text().find("192.0.2.1:1"), std::string::npos) << status.text();
    other.join();
  }
  EXPECT_LT(best, 200 * kMs);
}

TEST_F(ConnectionTest, AnAbortEndsASend) {
  const std::atomic<bool> abort = true;
  const Patience patience = {Deadline::after_ns(20 * kSecond), &abort};
  EXPECT_EQ(first_.send(1, std::string(kLarge, 'x'), patience).code(), Code::kAborted);
}

TEST_F(ConnectionTest, WhatCameBeforeTheEndStillComes) {
  ASSERT_TRUE(second_.send(1, "a", patience_of(kSecond)).ok());
  ASSERT_TRUE(second_.send(2, "b", patience_of(kSecond)).ok());
  second_ = Connection(UniqueFd(), SocketAddress());
  EXPECT_EQ(first_.receive(patience_of(kSecond)).value().payload, "a");
  EXPECT_EQ(first_.receive(patience_of(kSecond)).value().payload, "b");
  for (int i = 0; i < 2; ++i) {
    const Status status = first_.receive(patience_of(10 * kSecond)).status();
    EXPECT_EQ(status.code(), Code::kRemoteError);
    EXPECT_EQ(status.text(), "192.0.2.1:1: closed the connection");
    EXPECT_EQ(first_.send(1, "x", patience_of(kSecond)).code(), Code::kRemoteError);
    EXPECT_EQ(first_.flush().code(), Code::kRemoteError);
    EXPECT_EQ(first_.fill().code(), Code::kRemoteError);
  }
}

TEST_F(ConnectionTest, TheLastWordsOfAPeerThatTakesNoMore) {
  ASSERT_TRUE(second_.send(9, "why I go", patience_of(kSecond)).ok());
  second_ = Connection(UniqueFd(), SocketAddress());
  // No signal ends this program.
  EXPECT_EQ(first_.send(1, "x", patience_of(kSecond)).code(), Code::kRemoteError);
  EXPECT_EQ(first_.receive(patience_of(kSecond)).value().payload, "why I go");
  EXPECT_EQ(first_.receive(patience_of(kSecond)).status().code(), Code::kRemoteError);
}

TEST_F(ConnectionTest, ClosedInTheMiddleOfAFrame) {
  std::string bytes;
  append_frame(1, "whole", &bytes);
  append_frame(2, "cut short", &bytes);
  for (size_t cut = bytes.size() - 16; cut < bytes.size(); ++cut) {
    Pair pair = connection_pair();
    write_plain(pair.second.fd(), std::string_view(bytes).substr(0, cut));
    pair.second = Connection(UniqueFd(), SocketAddress());
    EXPECT_EQ(pair.first.receive(patience_of(kSecond)).value().payload, "whole");
    EXPECT_EQ(pair.first.receive(patience_of(10 * kSecond)).status().code(), Code::kRemoteError);
  }
}

TEST_F(ConnectionTest, BytesThatAreNoFrame) {
  write_plain(second_.fd(), "GET / HTTP/1.0\r\n\r\n");
  for (int i = 0; i < 2; ++i) {
    const Status status = first_.receive(patience_of(kSecond)).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_NE(status.text().find("192.0.2.1:1"), std::string::npos) << status.text();
  }
  EXPECT_EQ(first_.send(1, "x", patience_of(kSecond)).code(), Code::kInvalidArgument);
}

TEST_F(ConnectionTest, AMessageTooLargeIsNotSent) {
  const std::string huge(kMaxFrameBytes + 1, 'x');
  EXPECT_EQ(first_.send(1, huge, patience_of(kSecond)).code(), Code::kInvalidArgument);
  EXPECT_TRUE(first_.send(2, "small", patience_of(kSecond)).ok());
  EXPECT_EQ(second_.receive(patience_of(kSecond)).value().payload, "small");
}

}  // namespace
}  // namespace tutti
