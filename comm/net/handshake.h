// The handshake that opens every connection: each side proves that it knows the job secret before
// the other reads anything else. Mutual challenge and response with HMAC-SHA256.
//
//   client -> server  32 bytes: "TUTI", format 1, 3 zero bytes, key id, 16 bytes nonce C
//   server -> client  24 bytes: "TUTI", format 1, 3 zero bytes, 16 bytes nonce S
//   client -> server  34 bytes: hmac("client" C S hello), length of hello; then hello
//   server -> client  32 bytes: hmac("server" C S); all zero: the proof is not accepted
//
// Both nonces are fresh, so a recorded handshake is worth nothing later; the labels keep one side's
// proof from serving as the other's. An end without a verdict says nothing about the secret: the
// server may have died. The bytes that follow are not encrypted: the secret keeps strangers out,
// the network is trusted beyond that. State machines over bytes, without I/O. Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "comm/base/status.h"
#include "comm/net/secret.h"

namespace tutti {

inline constexpr size_t kMaxHelloBytes = 512;

// Common to both sides: feed what arrived, send what is to be sent, until done() or a failure.
class Handshake {
 public:
  virtual ~Handshake() = default;
  // kAuthFailed when one side does not know the other's secret, kInvalidArgument when it does not
  // speak this protocol; then every call answers the same, and nothing is to be sent but, once, a
  // server's verdict.
  Status feed(std::string_view bytes);
  std::string take_outgoing();
  bool done() const { return done_; }
  // After done(): bytes fed that belong to what comes next.
  const std::string& early() const { return pending_; }

 protected:
  // Goes on with what is pending as far as it reaches.
  virtual Status advance() = 0;
  // The first `bytes` of what is pending, taken off it; empty when there are not that many yet.
  std::string take(size_t bytes);

  std::string pending_;
  std::string outgoing_;
  std::string verdict_;  // to be sent in place of outgoing_ after a failure
  bool done_ = false;

 private:
  Status failure_;
};

class ClientHandshake final : public Handshake {
 public:
  using Nonce = std::array<uint8_t, 16>;
  // At most kMaxHelloBytes of hello.
  ClientHandshake(const Secret& secret, std::string_view hello, const Nonce& nonce);
  // The server's nonce has come, and its verdict on our proof is what is missing.
  bool proved() const { return proved_; }

 private:
  Status advance() override;

  const Secret secret_;
  const std::string hello_;
  const std::string nonce_;
  Digest expected_ = {};
  bool proved_ = false;
};

class ServerHandshake final : public Handshake {
 public:
  // `keys` must outlive this.
  ServerHandshake(const KeyRing& keys, const ClientHandshake::Nonce& nonce);
  const std::string& hello() const { return hello_; }  // after done()
  uint64_t key() const { return key_; }                // key id of the secret it proved

 private:
  enum class Step { kOpening, kProof, kHello };
  Status advance() override;
  Status judge(std::string hello);

  const KeyRing& keys_;
  const std::string nonce_;
  std::string client_nonce_;
  std::string hello_;
  Digest proof_ = {};
  size_t hello_bytes_ = 0;
  uint64_t key_ = 0;
  Step step_ = Step::kOpening;
};

}  // namespace tutti
