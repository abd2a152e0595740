#include "comm/net/handshake.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "tests/net/net_test.h"

namespace tutti {
namespace {

constexpr ClientHandshake::Nonce kClientNonce = {'c', 1, 2, 3};
constexpr ClientHandshake::Nonce kServerNonce = {'s', 9, 8, 7};

std::string text_of(const ClientHandshake::Nonce& nonce) {
  return std::string(nonce.begin(), nonce.end());
}

std::string text_of(const Digest& digest) { return std::string(digest.begin(), digest.end()); }

// Feeds `bytes` in pieces of `piece` bytes; the first failure.
Status feed_pieces(Handshake* to, std::string_view bytes, size_t piece) {
  for (size_t at = 0; at < bytes.size(); at += piece) TUTTI_TRY(to->feed(bytes.substr(at, piece)));
  return Status();
}

// What each side has said.
struct Talk {
  std::string client;
  std::string server;
  Status client_status;
  Status server_status;
};

// Hands over what is to be sent until both have nothing more to say.
Talk talk(Handshake* client, Handshake* server, size_t piece = 1000) {
  Talk said;
  while (said.client_status.ok() && said.server_status.ok()) {
    const std::string forth = client->take_outgoing();
    said.client += forth;
    said.server_status = feed_pieces(server, forth, piece);
    const std::string back = server->take_outgoing();
    said.server += back;
    if (forth.empty() && back.empty()) break;
    said.client_status = feed_pieces(client, back, piece);
  }
  return said;
}

class HandshakeTest : public testing::Test {
 protected:
  void SetUp() override { keys_.add(secret_); }

  const Secret secret_ = some_secret(0);
  const Secret wrong_ = some_secret(100);
  KeyRing keys_;
};

TEST_F(HandshakeTest, BothSidesInPiecesOfEverySize) {
  for (const size_t hello_bytes : {size_t{0}, size_t{1}, size_t{33}, kMaxHelloBytes}) {
    const std::string hello(hello_bytes, 'h');
    for (size_t piece = 1; piece < 600; ++piece) {
      ClientHandshake client(secret_, hello, kClientNonce);
      ServerHandshake server(keys_, kServerNonce);
      const Talk said = talk(&client, &server, piece);
      ASSERT_TRUE(said.client_status.ok()) << said.client_status.text();
      ASSERT_TRUE(said.server_status.ok()) << said.server_status.text();
      ASSERT_TRUE(client.done() && server.done()) << piece;
      ASSERT_EQ(server.hello(), hello);
      ASSERT_EQ(server.key(), key_id(secret_));
      ASSERT_TRUE(client.early().empty() && server.early().empty());
    }
  }
}

TEST_F(HandshakeTest, TheBytesAreThoseOfTheComment) {
  ClientHandshake client(secret_, "hello", kClientNonce);
  ServerHandshake server(keys_, kServerNonce);
  const Talk said = talk(&client, &server);
  const std::string c = text_of(kClientNonce);
  const std::string s = text_of(kServerNonce);
  const std::string opening("TUTI\1\0\0\0", 8);
  EXPECT_EQ(said.client, opening + "\x83\x8b\xfd\xc3\x57\x5b\x18\xe9" + c +
                             text_of(hmac(secret_, "client" + c + s + "hello")) +
                             std::string("\5\0", 2) + "hello");
  EXPECT_EQ(said.server, opening + s + text_of(hmac(secret_, "server" + c + s)));
}

TEST_F(HandshakeTest, NobodyIsDoneBeforeTheLastByte) {
  ClientHandshake whole(secret_, "hello", kClientNonce);
  ServerHandshake other(keys_, kServerNonce);
  const Talk said = talk(&whole, &other);
  ServerHandshake server(keys_, kServerNonce);
  for (size_t i = 0; i < said.client.size(); ++i) {
    EXPECT_FALSE(server.done());
    ASSERT_TRUE(server.feed(said.client.substr(i, 1)).ok());
  }
  EXPECT_TRUE(server.done());
  ClientHandshake client(secret_, "hello", kClientNonce);
  for (size_t i = 0; i < said.server.size(); ++i) {
    EXPECT_FALSE(client.done());
    EXPECT_EQ(client.proved(), i >= 24);
    ASSERT_TRUE(client.feed(said.server.substr(i, 1)).ok());
  }
  EXPECT_TRUE(client.done());
}

TEST_F(HandshakeTest, WhatComesBehindIsKept) {
  ClientHandshake client(secret_, "hello", kClientNonce);
  ServerHandshake server(keys_, kServerNonce);
  const Talk said = talk(&client, &server);
  ClientHandshake client2(secret_, "hello", kClientNonce);
  ASSERT_TRUE(client2.feed(said.server + "behind").ok());
  EXPECT_TRUE(client2.done());
  EXPECT_EQ(client2.early(), "behind");
  ASSERT_TRUE(client2.feed(" more").ok());
  EXPECT_EQ(client2.early(), "behind more");
  ServerHandshake server2(keys_, kServerNonce);
  ASSERT_TRUE(server2.feed(said.client + "behind").ok());
  EXPECT_EQ(server2.early(), "behind");
}

TEST_F(HandshakeTest, AClientWithAnotherSecret) {
  ClientHandshake client(wrong_, "hello", kClientNonce);
  ServerHandshake server(keys_, kServerNonce);
  const Talk said = talk(&client, &server);
  EXPECT_EQ(said.server_status.code(), Code::kAuthFailed);
  EXPECT_FALSE(server.done());
  EXPECT_FALSE(client.done());
  EXPECT_TRUE(client.proved());
  ASSERT_EQ(said.server.size(), 24u + 32u);
  EXPECT_EQ(said.server.substr(24), std::string(32, '\0')) << "it proves nothing to a stranger";
  EXPECT_EQ(said.client_status.code(), Code::kAuthFailed);
  EXPECT_EQ(said.client_status.text(), "does not accept the secret");
  EXPECT_EQ(server.feed("more").code(), Code::kAuthFailed);
  EXPECT_TRUE(server.take_outgoing().empty());
}

// An unknown key and a known one that is not proved look alike from outside.
TEST_F(HandshakeTest, AKeyIdAloneProvesNothing) {
  ClientHandshake guesser(wrong_, "", kClientNonce);
  std::string opening = guesser.take_outgoing();
  ClientHandshake knower(secret_, "", kClientNonce);
  opening.replace(8, 8, knower.take_outgoing().substr(8, 8));
  ServerHandshake server(keys_, kServerNonce);
  ASSERT_TRUE(server.feed(opening).ok());
  ASSERT_TRUE(guesser.feed(server.take_outgoing()).ok());
  EXPECT_EQ(server.feed(guesser.take_outgoing()).code(), Code::kAuthFailed);
  EXPECT_FALSE(server.done());
}

TEST_F(HandshakeTest, ASecretTakenAwayMeanwhile) {
  ClientHandshake client(secret_, "", kClientNonce);
  ServerHandshake server(keys_, kServerNonce);
  ASSERT_TRUE(server.feed(client.take_outgoing()).ok());
  keys_.remove(secret_);
  ASSERT_TRUE(client.feed(server.take_outgoing()).ok());
  EXPECT_EQ(server.feed(client.take_outgoing()).code(), Code::kAuthFailed);
}

TEST_F(HandshakeTest, AnUnknownKeyDoesNotMeanTheZeroSecret) {
  ClientHandshake client(Secret{}, "", kClientNonce);
  ServerHandshake server(keys_, kServerNonce);
  EXPECT_EQ(talk(&client, &server).server_status.code(), Code::kAuthFailed);
}

TEST_F(HandshakeTest, AServerWithAnotherSecret) {
  // It lets everybody through and answers with a proof of its own secret.
  ClientHandshake client(secret_, "hello", kClientNonce);
  client.take_outgoing();
  const std::string c = text_of(kClientNonce);
  const std::string s = text_of(kServerNonce);
  ASSERT_TRUE(client.feed(std::string("TUTI\1\0\0\0", 8) + s).ok());
  const Status status = client.feed(text_of(hmac(wrong_, "server" + c + s)));
  EXPECT_EQ(status.code(), Code::kAuthFailed) << status.text();
  EXPECT_FALSE(client.done());
  EXPECT_EQ(client.feed(text_of(hmac(secret_, "server" + c + s))).code(), Code::kAuthFailed);
}

// A server that knows nothing sends everything back, hoping that our proof serves as its own.
TEST_F(HandshakeTest, AReflectedProof) {
  ClientHandshake client(secret_, "", kClientNonce);
  const std::string opening = client.take_outgoing();
  ASSERT_TRUE(client.feed(opening.substr(0, 8) + text_of(kClientNonce)).ok());
  const std::string proof = client.take_outgoing();
  EXPECT_EQ(client.feed(proof).code(), Code::kAuthFailed);
  EXPECT_FALSE(client.done());
}

// A client that knows nothing asks another connection's client for the proof it needs.
TEST_F(HandshakeTest, AServersProofIsNoClientsProof) {
  const std::string c = text_of(kClientNonce);
  const std::string s = text_of(kServerNonce);
  ClientHandshake client(secret_, "", kClientNonce);
  ServerHandshake server(keys_, kServerNonce);
  ASSERT_TRUE(server.feed(client.take_outgoing()).ok());
  const Digest proof = hmac(secret_, "server" + c + s);
  EXPECT_EQ(server.feed(text_of(proof) + std::string(2, '\0')).code(), Code::kAuthFailed);
}

TEST_F(HandshakeTest, ARecordingIsWorthNothing) {
  ClientHandshake client(secret_, "hello", kClientNonce);
  ServerHandshake server(keys_, kServerNonce);
  const Talk said = talk(&client, &server);
  ASSERT_TRUE(client.done() && server.done());
  ServerHandshake again(keys_, {'t'});
  EXPECT_EQ(again.feed(said.client).code(), Code::kAuthFailed);
  EXPECT_FALSE(again.done());
  ClientHandshake fresh(secret_, "hello", {'d'});
  EXPECT_EQ(fresh.feed(said.server).code(), Code::kAuthFailed);
  EXPECT_FALSE(fresh.done());
}

TEST_F(HandshakeTest, EveryChangedBitIsNoticed) {
  ClientHandshake client(secret_, "hello", kClientNonce);
  ServerHandshake server(keys_, kServerNonce);
  const Talk said = talk(&client, &server);
  for (size_t bit = 0; bit < 8 * said.client.size(); ++bit) {
    std::string changed = said.client;
    changed[bit / 8] ^= static_cast<char>(1 << bit % 8);
    ServerHandshake victim(keys_, kServerNonce);
    // A longer hello is a failure too: it never comes.
    static_cast<void>(victim.feed(changed));
    ASSERT_FALSE(victim.done()) << bit;
  }
  for (size_t bit = 0; bit < 8 * said.server.size(); ++bit) {
    std::string changed = said.server;
    changed[bit / 8] ^= static_cast<char>(1 << bit % 8);
    ClientHandshake victim(secret_, "hello", kClientNonce);
    EXPECT_FALSE(victim.feed(changed).ok()) << bit;
    ASSERT_FALSE(victim.done()) << bit;
  }
}

TEST_F(HandshakeTest, AHelloTooLong) {
  for (const std::string& length : {std::string("\x01\x02"), std::string("\xff\xff")}) {
    ServerHandshake server(keys_, kServerNonce);
    ClientHandshake fresh(secret_, "", kClientNonce);
    ASSERT_TRUE(server.feed(fresh.take_outgoing()).ok());
    const Status status = server.feed(std::string(32, 'p') + length);
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_NE(status.text().find("the limit is 512"), std::string::npos) << status.text();
    EXPECT_TRUE(server.take_outgoing().empty()) << "then nothing more is to be sent";
  }
}

TEST_F(HandshakeTest, AnotherProtocolIsToldAtItsFirstWrongByte) {
  const std::string good("TUTI\1\0\0\0", 8);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good.substr(0, i + 1);
    bad[i] ^= 0x20;
    ServerHandshake server(keys_, kServerNonce);
    EXPECT_EQ(server.feed(bad).code(), Code::kInvalidArgument) << i;
    EXPECT_TRUE(server.take_outgoing().empty());
    ClientHandshake client(secret_, "", kClientNonce);
    EXPECT_EQ(client.feed(bad).code(), Code::kInvalidArgument) << i;
    EXPECT_TRUE(client.take_outgoing().empty());
    EXPECT_EQ(client.feed("").code(), Code::kInvalidArgument);
  }
  ServerHandshake server(keys_, kServerNonce);
  const Status status = server.feed("TUTI\2");
  EXPECT_NE(status.text().find("format 2 of the handshake, not 1"), std::string::npos);
}

TEST_F(HandshakeTest, OneServerManySecrets) {
  keys_.add(wrong_);
  for (const Secret& secret : {secret_, wrong_}) {
    ClientHandshake client(secret, "x", kClientNonce);
    ServerHandshake server(keys_, kServerNonce);
    talk(&client, &server);
    EXPECT_TRUE(client.done() && server.done());
    EXPECT_EQ(server.key(), key_id(secret));
  }
}

}  // namespace
}  // namespace tutti
