// What the tests of net share: a fixture with a time limit and a log to look at, plain sockets that
// play strangers, and a listener driven in the thread of the test.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/clock.h"
#include "comm/base/log.h"
#include "comm/base/unique_fd.h"
#include "comm/net/address.h"
#include "comm/net/connection.h"
#include "comm/net/dial.h"
#include "comm/net/listener.h"
#include "comm/net/secret.h"

namespace tutti {

inline constexpr int64_t kMs = 1'000'000;
inline constexpr int64_t kSecond = 1000 * kMs;

// 16 bytes that start with `first` and count up.
Secret some_secret(uint8_t first);
SocketAddress address_of(std::string_view text);  // parsed, a failure of the test if it cannot be
Patience patience_of(int64_t ns);

// A connected socket that never blocks, from `source` when that is given. Loopback connects at
// once.
UniqueFd connect_plain(const SocketAddress& address, std::string_view source = {});
// A listening socket without any of ours behind it, on a free port of 127.0.0.1.
UniqueFd listen_plain(SocketAddress* address);
UniqueFd accept_plain(int listening);  // waits, up to a time limit
void write_plain(int fd, std::string_view bytes);

enum class End { kNone, kClosed, kReset };
// How the other side ended the connection, if it did; what it said before is appended to `said`.
End end_of(int fd, std::string* said = nullptr);

// Frames over a pair of local sockets.
struct Pair {
  Connection first;
  Connection second;
};
Pair connection_pair();

class NetTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  std::unique_ptr<Listener> open_listener();
  // Drives the listener until `done`, failing the test after a long while. What got through is
  // kept in accepted_.
  void drive(Listener* listener, const std::function<bool()>& done);
  // Both sides of a dial; the client's connection, or why there is none.
  Result<Connection> dial(Listener* listener, const Secret& secret, std::string_view hello);
  std::string log_text() const;
  size_t log_lines() const;

  const Secret secret_ = some_secret(0);
  const Secret wrong_ = some_secret(100);
  KeyRing keys_;
  std::string log_path_;
  std::unique_ptr<Logger> logger_;
  std::vector<Accepted> accepted_;
};

}  // namespace tutti
