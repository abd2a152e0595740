#include "comm/net/dial.h"

#include <cerrno>
#include <poll.h>
#include <sys/socket.h>

#include "comm/net/socket.h"

namespace tutti {
namespace {

constexpr size_t kReadBytes = 1024;

// Failures that are gone once the other host or process is up.
bool is_passing(int number) {
  switch (number) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:  // every port of our own is taken
      return true;
    default:
      return false;
  }
}

}  // namespace

Dial::Dial(const SocketAddress& address, const Secret& secret, std::string_view hello)
    : address_(address) {
  failure_ = begin(secret, hello);
}

Status Dial::fail(Code code, const std::string& cause) {
  cause_ = cause;
  return error(code, "%s: %s", address_.text().c_str(), cause.c_str());
}

// The connection ended with errno `number`.
Status Dial::lost(int number) {
  may_pass_ = is_passing(number);
  return fail(Code::kRemoteError, errno_text(number));
}

Status Dial::begin(const Secret& secret, std::string_view hello) {
  ClientHandshake::Nonce nonce = {};
  TUTTI_TRY(random_bytes(nonce.data(), nonce.size()));
  handshake_ = std::make_unique<ClientHandshake>(secret, hello, nonce);
  Result<UniqueFd> socket = make_socket(address_.family());
  if (!socket.ok()) return socket.status();
  socket_ = std::move(socket.value());
  if (connect(socket_.get(), address_.get(), address_.length()) == 0) return Status();
  return errno == EINPROGRESS || errno == EINTR ? Status() : lost(errno);
}

short Dial::events() const { return !connected_ || !outgoing_.empty() ? POLLOUT : POLLIN; }

// connected_ once the socket is.
Status Dial::finish_connect() {
  pollfd ready = {socket_.get(), POLLOUT, 0};
  if (poll(&ready, 1, 0) <= 0) return Status();
  int failure = 0;
  socklen_t length = sizeof(failure);
  if (getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &failure, &length) != 0) failure = errno;
  if (failure != 0) return lost(failure);
  // Connecting to a free port of this host may pick that very port as the source and meet itself.
  if (local_address(socket_.get()) == address_) return lost(ECONNREFUSED);
  connected_ = true;
  cause_ = "connected, but no answer to the handshake";
  return Status();
}

Status Dial::send_outgoing() {
  outgoing_ += handshake_->take_outgoing();
  while (!outgoing_.empty()) {
    const ssize_t sent = send(socket_.get(), outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Status();
    if (sent < 0) return lost(errno);
    outgoing_.erase(0, static_cast<size_t>(sent));
  }
  return Status();
}

// The handshake as far as it goes now.
Status Dial::prove() {
  while (true) {
    TUTTI_TRY(send_outgoing());
    if (handshake_->done()) return Status();
    char bytes[kReadBytes];
    const ssize_t got = recv(socket_.get(), bytes, sizeof(bytes), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Status();
    if (got < 0) return lost(errno);
    if (got == 0) {
      may_pass_ = true;
      return fail(Code::kRemoteError, handshake_->proved()
                                          ? "closed the connection without judging our proof"
                                          : "closed the connection");
    }
    const Status fed = handshake_->feed(std::string_view(bytes, static_cast<size_t>(got)));
    if (fed.ok()) continue;
    // What the other side speaks is no argument of ours.
    const Code code = fed.code() == Code::kAuthFailed ? fed.code() : Code::kRemoteError;
    return fail(code, fed.text());
  }
}

Result<std::optional<Connection>> Dial::step() {
  if (failure_.ok() && !connected_) failure_ = finish_connect();
  if (failure_.ok() && connected_) failure_ = prove();
  if (!failure_.ok()) return failure_;
  if (!handshake_->done()) return std::optional<Connection>();
  return std::optional<Connection>(Connection(std::move(socket_), address_, handshake_->early()));
}

}  // namespace tutti
