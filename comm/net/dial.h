// Dial: one attempt to connect and prove the secret, for loops that poll. connect_to() waits for
// such attempts, one after the other. Not thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "comm/base/status.h"
#include "comm/base/unique_fd.h"
#include "comm/net/address.h"
#include "comm/net/connection.h"
#include "comm/net/handshake.h"
#include "comm/net/secret.h"

namespace tutti {

class Dial {
 public:
  // Begins; what fails at once shows in the first step(). At most kMaxHelloBytes of hello.
  Dial(const SocketAddress& address, const Secret& secret, std::string_view hello);

  int fd() const { return socket_.get(); }
  // What to wait for on fd(): POLLOUT while connecting or with bytes to send, else POLLIN.
  short events() const;
  // Goes on; the connection once it stands. kRemoteError: refused, reset, unreachable, speaks
  // something else, or ended the connection without a verdict on our proof; kAuthFailed: it refused
  // the proof, or its own is wrong. A failure stays.
  Result<std::optional<Connection>> step();
  // After a failure: another attempt may fare better (nobody listens yet, the listener is busy).
  bool may_pass() const { return may_pass_; }
  // What is waited for or what went wrong, in a few words without the address.
  const std::string& cause() const { return cause_; }

 private:
  Status begin(const Secret& secret, std::string_view hello);
  Status finish_connect();
  Status send_outgoing();
  Status prove();
  Status fail(Code code, const std::string& cause);
  Status lost(int number);

  SocketAddress address_;
  UniqueFd socket_;
  std::unique_ptr<ClientHandshake> handshake_;
  Status failure_;
  std::string cause_ = "no answer";
  std::string outgoing_;
  bool connected_ = false;
  bool may_pass_ = false;
};

}  // namespace tutti
