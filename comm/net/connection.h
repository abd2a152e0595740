// Connection: one authenticated stream of frames between two processes.
//
// Made by connect_to() or by a Listener, when both sides have proved the secret (handshake.h). Use
// either the blocking calls or the others. A connection that has failed keeps answering with why.
// Not thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "comm/base/status.h"
#include "comm/base/unique_fd.h"
#include "comm/net/address.h"
#include "comm/net/frame.h"
#include "comm/net/patience.h"
#include "comm/net/secret.h"

namespace tutti {

class Connection {
 public:
  // Of a connected non-blocking socket that has passed the handshake. `early`: bytes that came
  // behind it.
  Connection(UniqueFd socket, const SocketAddress& peer, std::string_view early = {});
  Connection(Connection&&) = default;
  Connection& operator=(Connection&&) = default;

  const SocketAddress& peer() const { return peer_; }
  int fd() const { return socket_.get(); }

  // --- for loops that poll: none of these waits ---
  // To be written by flush(). At most kMaxFrameBytes of payload.
  void queue(uint16_t type, std::string_view payload);
  bool has_unsent() const { return sent_ < outgoing_.size(); }
  Status flush();  // writes what the socket takes now
  Status fill();   // reads what is there now. kRemoteError once the peer has closed
  // The next whole frame among what fill() has read. What arrived before a failure still comes.
  Result<std::optional<Frame>> next();

  // --- for a thread that waits ---
  // kTimeout, kAborted, kRemoteError (the peer closed or reset), kInvalidArgument (no frame); the
  // text names the peer's address. What a send() that timed out left behind goes out first by the
  // next call. While it waits, send() takes in what arrives, so that two sides may send at once.
  Status send(uint16_t type, std::string_view payload, const Patience& patience);
  Result<Frame> receive(const Patience& patience);

 private:
  Status fail(Code code, const std::string& what);
  Status named(const Status& status) const;
  void read_available();

  UniqueFd socket_;
  SocketAddress peer_;
  FrameReader reader_;
  std::string outgoing_;
  size_t sent_ = 0;
  Status failure_;
};

// Connects and proves the secret. `hello` (at most kMaxHelloBytes) reaches the other side together
// with the proof. Tries again after a refused or reset connection until the patience ends, when the
// text tells the last cause; a wrong secret is kAuthFailed at once.
Result<Connection> connect_to(const SocketAddress& address, const Secret& secret,
                              std::string_view hello, const Patience& patience);

}  // namespace tutti
