#include "comm/net/socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

namespace tutti {
namespace {

constexpr int64_t kNsPerMs = 1'000'000;
constexpr int64_t kSliceMs = 50;

}  // namespace

std::string errno_text(int number) {
  const char* text = strerrordesc_np(number);
  if (text == nullptr) return "error " + std::to_string(number);
  std::string lower(text);
  // "Connection refused", but "RPC ..." stays.
  const bool is_word = lower.size() > 1 && lower[1] >= 'a' && lower[1] <= 'z';
  if (is_word && lower[0] >= 'A' && lower[0] <= 'Z') lower[0] += 'a' - 'A';
  return lower;
}

Result<UniqueFd> make_socket(int family) {
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return error(Code::kSystemError, "cannot make a socket: %s", errno_text(errno).c_str());
  }
  const int yes = 1;
  if (family == AF_INET6 &&
      setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) != 0) {
    return error(Code::kSystemError, "cannot set IPV6_V6ONLY: %s", errno_text(errno).c_str());
  }
  set_no_delay(fd.get());
  return fd;
}

void set_no_delay(int fd) {
  const int yes = 1;
  // Only speed depends on it.
  static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)));
}

SocketAddress local_address(int fd) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof(storage);
  auto* const address = reinterpret_cast<sockaddr*>(&storage);
  if (getsockname(fd, address, &length) != 0) return SocketAddress();
  return SocketAddress(address, length);
}

Status wait_ready(int fd, short events, const Patience& patience) {
  while (true) {
    // Pairs with the release store of whoever gives up.
    if (patience.abort && patience.abort->load(std::memory_order_acquire)) {
      return error(Code::kAborted, "aborted");
    }
    const int64_t now = now_ns();
    const bool expired = patience.deadline.expired(now);
    int64_t ms = kSliceMs;
    if (expired) {
      ms = 0;
    } else if (!patience.deadline.is_never()) {
      // Rounded up: a wait of 0 ms until the deadline would be a busy loop.
      ms = std::min(ms, (patience.deadline.at_ns() - now + kNsPerMs - 1) / kNsPerMs);
    }
    pollfd waited = {fd, events, 0};
    const int ready = poll(&waited, 1, static_cast<int>(ms));
    if (ready > 0) return Status();
    if (ready < 0 && errno != EINTR) {
      return error(Code::kSystemError, "poll: %s", errno_text(errno).c_str());
    }
    if (expired) return error(Code::kTimeout, "timed out");
  }
}

void reset_on_close(int fd) {
  const linger now = {1, 0};
  static_cast<void>(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
}

}  // namespace tutti
