#include "tests/net/net_test.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <poll.h>
#include <sstream>
#include <sys/socket.h>
#include <unistd.h>

#include "comm/base/check.h"

namespace tutti {
namespace {

constexpr unsigned kLimitSeconds = 60;  // a test that hangs ends with SIGALRM
constexpr int64_t kLongNs = 30 * kSecond;
constexpr int kSliceMs = 5;

}  // namespace

Secret some_secret(uint8_t first) {
  Secret secret;
  std::iota(secret.begin(), secret.end(), first);
  return secret;
}

SocketAddress address_of(std::string_view text) {
  Result<SocketAddress> address = SocketAddress::parse(text);
  EXPECT_TRUE(address.ok()) << address.status().text();
  return address.ok() ? address.value() : SocketAddress();
}

Patience patience_of(int64_t ns) { return {Deadline::after_ns(ns), nullptr}; }

UniqueFd connect_plain(const SocketAddress& address, std::string_view source) {
  UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!source.empty()) {
    const SocketAddress from = address_of(source);
    EXPECT_EQ(bind(fd.get(), from.get(), from.length()), 0) << strerror(errno);
  }
  EXPECT_EQ(connect(fd.get(), address.get(), address.length()), 0) << strerror(errno);
  return fd;
}

UniqueFd listen_plain(SocketAddress* address) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress any = address_of("127.0.0.1:0");
  EXPECT_EQ(bind(fd.get(), any.get(), any.length()), 0) << strerror(errno);
  EXPECT_EQ(listen(fd.get(), 16), 0) << strerror(errno);
  sockaddr_storage storage = {};
  socklen_t length = sizeof(storage);
  EXPECT_EQ(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length), 0);
  *address = SocketAddress(reinterpret_cast<const sockaddr*>(&storage), length);
  return fd;
}

UniqueFd accept_plain(int listening) {
  pollfd waited = {listening, POLLIN, 0};
  EXPECT_EQ(poll(&waited, 1, static_cast<int>(kLongNs / kMs)), 1);
  return UniqueFd(accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
}

void write_plain(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) return;  // a stranger does not care
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

End end_of(int fd, std::string* said) {
  char bytes[1024];
  while (true) {
    const ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got == 0) return End::kClosed;
    if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? End::kNone : End::kReset;
    if (said != nullptr) said->append(bytes, static_cast<size_t>(got));
  }
}

Pair connection_pair() {
  int fds[2];
  TUTTI_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0,
              "a pair of sockets");
  return {Connection(UniqueFd(fds[0]), address_of("192.0.2.1:1")),
          Connection(UniqueFd(fds[1]), address_of("192.0.2.2:2"))};
}

void NetTest::SetUp() {
  alarm(kLimitSeconds);
  keys_.add(secret_);
  std::string name = testing::TempDir() + "tutti-net-XXXXXX";
  const UniqueFd file(mkstemp(name.data()));
  ASSERT_TRUE(file.valid());
  log_path_ = name;
  Result<std::unique_ptr<Logger>> logger = Logger::open({LogLevel::kWarn, log_path_});
  ASSERT_TRUE(logger.ok()) << logger.status().text();
  logger_ = std::move(logger.value());
}

void NetTest::TearDown() {
  std::filesystem::remove(log_path_);
  alarm(0);
}

std::unique_ptr<Listener> NetTest::open_listener() {
  Result<std::unique_ptr<Listener>> listener =
      Listener::open(address_of("127.0.0.1:0"), PortRange(), keys_, Log(*logger_));
  EXPECT_TRUE(listener.ok()) << listener.status().text();
  return std::move(listener.value());
}

void NetTest::drive(Listener* listener, const std::function<bool()>& done) {
  const Deadline deadline = Deadline::after_ns(kLongNs);
  while (!done()) {
    ASSERT_FALSE(deadline.expired(now_ns())) << "the listener does not get there";
    pollfd waited = {listener->fd(), POLLIN, 0};
    poll(&waited, 1, kSliceMs);
    for (Accepted& accepted : listener->poll()) accepted_.push_back(std::move(accepted));
    EXPECT_LE(listener->half_open(), Listener::kMaxHalfOpen);
  }
}

Result<Connection> NetTest::dial(Listener* listener, const Secret& secret, std::string_view hello) {
  Dial dial(listener->address(), secret, hello);
  Result<std::optional<Connection>> stepped = std::optional<Connection>();
  drive(listener, [&] {
    stepped = dial.step();
    return !stepped.ok() || stepped.value();
  });
  if (!stepped.ok()) return stepped.status();
  if (!stepped.value()) return error(Code::kTimeout, "%s", dial.cause().c_str());
  return std::move(*stepped.value());
}

std::string NetTest::log_text() const {
  std::ostringstream text;
  text << std::ifstream(log_path_).rdbuf();
  return text.str();
}

size_t NetTest::log_lines() const {
  const std::string all = log_text();
  return static_cast<size_t>(std::count(all.begin(), all.end(), '\n'));
}

}  // namespace tutti
