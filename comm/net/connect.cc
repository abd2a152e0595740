#include <algorithm>

#include "comm/net/connection.h"
#include "comm/net/dial.h"
#include "comm/net/socket.h"

namespace tutti {
namespace {

constexpr int64_t kFirstBackoffNs = 5'000'000;
constexpr int64_t kMaxBackoffNs = 100'000'000;
constexpr double kNsPerSecond = 1e9;

// Steps until the dial ends, or what ended the wait for it.
Result<std::optional<Connection>> finish(Dial* dial, const Patience& patience) {
  while (true) {
    Result<std::optional<Connection>> stepped = dial->step();
    if (!stepped.ok() || stepped.value()) return stepped;
    TUTTI_TRY(wait_ready(dial->fd(), dial->events(), patience));
  }
}

Status check_arguments(const SocketAddress& address, std::string_view hello) {
  if (address.port() == 0) {
    return error(Code::kInvalidArgument, "no port to connect to: %s", address.text().c_str());
  }
  if (hello.size() > kMaxHelloBytes) {
    return error(Code::kInvalidArgument, "a hello of %zu bytes, the limit is %zu", hello.size(),
                 kMaxHelloBytes);
  }
  return Status();
}

}  // namespace

Result<Connection> connect_to(const SocketAddress& address, const Secret& secret,
                              std::string_view hello, const Patience& patience) {
  TUTTI_TRY(check_arguments(address, hello));
  const int64_t start_ns = now_ns();
  int64_t backoff_ns = kFirstBackoffNs;
  while (true) {
    Dial dial(address, secret, hello);
    Result<std::optional<Connection>> dialled = finish(&dial, patience);
    if (dialled.ok()) return std::move(*dialled.value());
    Status ended = dialled.status();
    if (dial.may_pass()) {
      const Deadline soon = Deadline::after_ns(backoff_ns);
      const bool last = patience.deadline.at_ns() <= soon.at_ns();
      ended = wait_ready(-1, 0, {last ? patience.deadline : soon, patience.abort});
      backoff_ns = std::min(2 * backoff_ns, kMaxBackoffNs);
      if (ended.code() == Code::kTimeout && !last) continue;
    }
    if (ended.code() == Code::kTimeout) {
      const int64_t ns = std::max<int64_t>(patience.deadline.at_ns() - start_ns, 0);
      return error(Code::kTimeout, "cannot reach %s within %.3f s: %s", address.text().c_str(),
                   static_cast<double>(ns) / kNsPerSecond, dial.cause().c_str());
    }
    if (ended.code() == Code::kAborted) {
      return error(Code::kAborted, "aborted while connecting to %s: %s", address.text().c_str(),
                   dial.cause().c_str());
    }
    return ended;
  }
}

}  // namespace tutti
