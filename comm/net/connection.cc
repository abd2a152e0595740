#include "comm/net/connection.h"

#include <cerrno>
#include <poll.h>
#include <sys/socket.h>

#include "comm/net/socket.h"

namespace tutti {
namespace {

constexpr size_t kReadBytes = size_t{64} << 10;
constexpr int kReadsPerFill = 16;               // then other connections have their turn
constexpr size_t kKeptBytes = size_t{1} << 20;  // a larger buffer is given back when empty

bool would_block(int number) { return number == EAGAIN || number == EWOULDBLOCK; }

}  // namespace

Connection::Connection(UniqueFd socket, const SocketAddress& peer, std::string_view early)
    : socket_(std::move(socket)), peer_(peer) {
  reader_.feed(early);
}

Status Connection::fail(Code code, const std::string& what) {
  if (failure_.ok()) failure_ = error(code, "%s: %s", peer_.text().c_str(), what.c_str());
  return failure_;
}

Status Connection::named(const Status& status) const {
  return error(status.code(), "%s: %s", peer_.text().c_str(), status.text().c_str());
}

void Connection::queue(uint16_t type, std::string_view payload) {
  if (sent_ > outgoing_.size() / 2) {
    outgoing_.erase(0, sent_);
    sent_ = 0;
  }
  append_frame(type, payload, &outgoing_);
}

Status Connection::flush() {
  if (!failure_.ok()) return failure_;
  while (has_unsent()) {
    const ssize_t sent = ::send(socket_.get(), outgoing_.data() + sent_, outgoing_.size() - sent_,
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && would_block(errno)) return Status();
    if (sent < 0) {
      const std::string why = errno_text(errno);
      read_available();  // its last words, which may say why it went
      return fail(Code::kRemoteError, "the connection is gone: " + why);
    }
    sent_ += static_cast<size_t>(sent);
  }
  if (outgoing_.capacity() > kKeptBytes) {
    outgoing_ = std::string();
  } else {
    outgoing_.clear();
  }
  sent_ = 0;
  return Status();
}

void Connection::read_available() {
  char bytes[kReadBytes];
  for (int i = 0; i < kReadsPerFill; ++i) {
    const ssize_t got = recv(socket_.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && would_block(errno)) return;
    if (got <= 0) {
      static_cast<void>(
          fail(Code::kRemoteError, got == 0 ? "closed the connection"
                                            : "the connection is gone: " + errno_text(errno)));
      return;
    }
    reader_.feed(std::string_view(bytes, static_cast<size_t>(got)));
    if (static_cast<size_t>(got) < sizeof(bytes)) return;
  }
}

Status Connection::fill() {
  if (failure_.ok()) read_available();
  return failure_;
}

Result<std::optional<Frame>> Connection::next() {
  Result<std::optional<Frame>> frame = reader_.next();
  if (frame.ok()) return frame;
  const Status broken = named(frame.status());
  if (failure_.ok()) failure_ = broken;
  return broken;
}

Status Connection::send(uint16_t type, std::string_view payload, const Patience& patience) {
  if (payload.size() > kMaxFrameBytes) {
    return error(Code::kInvalidArgument, "%s: a message of %zu bytes, the limit is %zu",
                 peer_.text().c_str(), payload.size(), kMaxFrameBytes);
  }
  if (!failure_.ok()) return failure_;
  queue(type, payload);
  while (true) {
    TUTTI_TRY(flush());
    if (!has_unsent()) return Status();
    const Status ready = wait_ready(socket_.get(), POLLIN | POLLOUT, patience);
    if (!ready.ok()) return named(ready);
    TUTTI_TRY(fill());
  }
}

Result<Frame> Connection::receive(const Patience& patience) {
  while (true) {
    Result<std::optional<Frame>> frame = next();
    if (!frame.ok()) return frame.status();
    if (frame.value()) return std::move(*frame.value());
    if (!failure_.ok()) return failure_;
    const int events = has_unsent() ? POLLIN | POLLOUT : POLLIN;
    const Status ready = wait_ready(socket_.get(), static_cast<short>(events), patience);
    if (!ready.ok()) return named(ready);
    // Failures of both show above, behind what arrived before them.
    static_cast<void>(flush());
    static_cast<void>(fill());
  }
}

}  // namespace tutti
