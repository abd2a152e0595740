// connect_to() and Dial against listeners good, bad and absent.
#include <atomic>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <thread>

#include "comm/net/connection.h"
#include "comm/net/dial.h"
#include "comm/net/handshake.h"
#include "tests/net/net_test.h"

namespace tutti {
namespace {

class ConnectTest : public NetTest {
 protected:
  // A server by hand, on a socket that waits.
  void serve(const UniqueFd& accepted, ServerHandshake* server) {
    char bytes[1024];
    while (!server->done()) {
      const ssize_t got = recv(accepted.get(), bytes, sizeof(bytes), 0);
      ASSERT_GT(got, 0);
      const Status fed = server->feed(std::string_view(bytes, static_cast<size_t>(got)));
      write_plain(accepted.get(), server->take_outgoing());
      if (!fed.ok()) return;
    }
  }

  SocketAddress address_;
  UniqueFd listening_ = listen_plain(&address_);
};

void reset(UniqueFd* socket) {
  const linger now = {1, 0};
  ASSERT_EQ(setsockopt(socket->get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
  socket->reset();
}

TEST_F(ConnectTest, TriesAgainUntilAServerAnswers) {
  std::thread client([&] {
    Result<Connection> connection = connect_to(address_, secret_, "me", patience_of(20 * kSecond));
    ASSERT_TRUE(connection.ok()) << connection.status().text();
    EXPECT_EQ(connection.value().peer(), address_);
    EXPECT_EQ(connection.value().receive(patience_of(20 * kSecond)).value().payload, "welcome");
  });
  accept_plain(listening_.get()).reset();  // closed before it said anything
  UniqueFd hasty = accept_plain(listening_.get());
  reset(&hasty);
  // Reset after our proof, as by a listener that is too busy: no sign of a wrong secret.
  UniqueFd busy = accept_plain(listening_.get());
  char opening[32];
  ASSERT_EQ(recv(busy.get(), opening, sizeof(opening), MSG_WAITALL), 32);
  write_plain(busy.get(), std::string("TUTI\1\0\0\0", 8) + std::string(16, 's'));
  char proof[36];
  ASSERT_EQ(recv(busy.get(), proof, sizeof(proof), MSG_WAITALL), 36);
  reset(&busy);
  // The same with an orderly end, as of a process that was killed at that moment.
  UniqueFd dying = accept_plain(listening_.get());
  ASSERT_EQ(recv(dying.get(), opening, sizeof(opening), MSG_WAITALL), 32);
  write_plain(dying.get(), std::string("TUTI\1\0\0\0", 8) + std::string(16, 's'));
  ASSERT_EQ(recv(dying.get(), proof, sizeof(proof), MSG_WAITALL), 36);
  dying.reset();
  const UniqueFd accepted = accept_plain(listening_.get());
  ServerHandshake server(keys_, {1, 2, 3});
  serve(accepted, &server);
  EXPECT_EQ(server.hello(), "me");
  std::string frame;
  append_frame(1, "welcome", &frame);
  write_plain(accepted.get(), frame);
  client.join();
}

TEST_F(ConnectTest, FramesThatComeTogetherWithTheLastProof) {
  std::thread client([&] {
    Result<Connection> connection = connect_to(address_, secret_, "", patience_of(20 * kSecond));
    ASSERT_TRUE(connection.ok()) << connection.status().text();
    EXPECT_EQ(connection.value().receive(patience_of(20 * kSecond)).value().payload, "early");
  });
  const UniqueFd accepted = accept_plain(listening_.get());
  ServerHandshake server(keys_, {1, 2, 3});
  char bytes[1024];
  std::string last;
  while (!server.done()) {
    const ssize_t got = recv(accepted.get(), bytes, sizeof(bytes), 0);
    ASSERT_GT(got, 0);
    ASSERT_TRUE(server.feed(std::string_view(bytes, static_cast<size_t>(got))).ok());
    last = server.take_outgoing();
    if (!server.done()) write_plain(accepted.get(), last);
  }
  append_frame(1, "early", &last);
  write_plain(accepted.get(), last);
  client.join();
}

TEST_F(ConnectTest, AServerThatEndsWithoutAVerdictIsLost) {
  Dial dial(address_, secret_, "");
  UniqueFd accepted;
  std::string sent;
  Result<std::optional<Connection>> stepped = dial.step();
  for (int i = 0; stepped.ok() && i < 1'000'000; ++i) {
    if (!accepted.valid()) accepted = accept_plain(listening_.get());
    char bytes[100];
    const ssize_t got = recv(accepted.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got > 0) sent.append(bytes, static_cast<size_t>(got));
    if (got > 0 && sent.size() == 32) {
      write_plain(accepted.get(), std::string("TUTI\1\0\0\0", 8) + std::string(16, 's'));
    }
    if (sent.size() == 32 + 34) break;
    stepped = dial.step();
  }
  ASSERT_EQ(sent.size(), 32u + 34u);
  accepted.reset();
  while (stepped.ok() && !stepped.value()) stepped = dial.step();
  EXPECT_EQ(stepped.status().code(), Code::kRemoteError);
  EXPECT_EQ(stepped.status().text(),
            address_.text() + ": closed the connection without judging our proof");
  EXPECT_TRUE(dial.may_pass());
}

TEST_F(ConnectTest, AServerThatRefusesOurProofDoesNotKnowTheSecret) {
  std::thread client([&] {
    const int64_t start = now_ns();
    const Status status = connect_to(address_, wrong_, "", patience_of(60 * kSecond)).status();
    EXPECT_EQ(status.code(), Code::kAuthFailed);
    EXPECT_EQ(status.text(), address_.text() + ": does not accept the secret");
    EXPECT_LT(now_ns() - start, 30 * kSecond) << "at once, not at the deadline";
  });
  {
    const UniqueFd accepted = accept_plain(listening_.get());
    ServerHandshake server(keys_, {1, 2, 3});
    serve(accepted, &server);
    EXPECT_FALSE(server.done());
  }
  client.join();
}

TEST_F(ConnectTest, AServerThatCannotProveTheSecretItself) {
  std::thread client([&] {
    const Status status = connect_to(address_, secret_, "", patience_of(60 * kSecond)).status();
    EXPECT_EQ(status.code(), Code::kAuthFailed);
    EXPECT_EQ(status.text(), address_.text() + ": does not know the secret");
  });
  const UniqueFd accepted = accept_plain(listening_.get());
  write_plain(accepted.get(), std::string("TUTI\1\0\0\0", 8) + std::string(48, 's'));
  client.join();
}

TEST_F(ConnectTest, AServerOfAnotherProtocol) {
  std::thread client([&] {
    const Status status = connect_to(address_, secret_, "", patience_of(60 * kSecond)).status();
    EXPECT_EQ(status.code(), Code::kRemoteError);
    EXPECT_EQ(status.text(), address_.text() + ": does not speak this protocol");
  });
  const UniqueFd accepted = accept_plain(listening_.get());
  write_plain(accepted.get(), "SSH-2.0-OpenSSH_9.2\r\n");
  client.join();
}

TEST_F(ConnectTest, NobodyThere) {
  listening_.reset();
  const int64_t start = now_ns();
  const Status status = connect_to(address_, secret_, "", patience_of(100 * kMs)).status();
  EXPECT_EQ(status.code(), Code::kTimeout);
  EXPECT_EQ(status.text().substr(0, status.text().find(" within")),
            "cannot reach " + address_.text());
  EXPECT_NE(status.text().find("connection refused"), std::string::npos) << status.text();
  EXPECT_GE(now_ns() - start, 100 * kMs);
}

TEST_F(ConnectTest, NobodyAnswers) {
  const Status status = connect_to(address_, secret_, "", patience_of(50 * kMs)).status();
  EXPECT_EQ(status.code(), Code::kTimeout);
  EXPECT_NE(status.text().find("connected, but no answer to the handshake"), std::string::npos)
      << status.text();
}

TEST_F(ConnectTest, AnAbortEndsIt) {
  const std::atomic<bool> abort = true;
  const Patience patience = {Deadline::after_ns(60 * kSecond), &abort};
  const Status silent = connect_to(address_, secret_, "", patience).status();
  EXPECT_EQ(silent.code(), Code::kAborted);
  EXPECT_NE(silent.text().find(address_.text()), std::string::npos) << silent.text();
  listening_.reset();
  EXPECT_EQ(connect_to(address_, secret_, "", patience).status().code(), Code::kAborted);
}

TEST_F(ConnectTest, ArgumentsThatCannotBe) {
  const Patience patience = patience_of(kSecond);
  const std::string hello(kMaxHelloBytes + 1, 'h');
  EXPECT_EQ(connect_to(address_, secret_, hello, patience).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(connect_to(address_.with_port(0), secret_, "", patience).status().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(connect_to(SocketAddress(), secret_, "", patience).status().code(),
            Code::kInvalidArgument);
}

TEST_F(ConnectTest, ADialSaysWhetherToTryAgain) {
  listening_.reset();
  Dial refused(address_, secret_, "");
  Result<std::optional<Connection>> stepped = refused.step();
  while (stepped.ok()) stepped = refused.step();
  EXPECT_EQ(stepped.status().code(), Code::kRemoteError);
  EXPECT_EQ(stepped.status().text(), address_.text() + ": connection refused");
  EXPECT_TRUE(refused.may_pass());
  EXPECT_EQ(refused.cause(), "connection refused");
  EXPECT_EQ(refused.step().status().text(), stepped.status().text()) << "a failure stays";
  // A broadcast address: nothing that passes.
  Dial broadcast(address_of("255.255.255.255:80"), secret_, "");
  EXPECT_EQ(broadcast.step().status().code(), Code::kRemoteError);
  EXPECT_FALSE(broadcast.may_pass());
}

}  // namespace
}  // namespace tutti
