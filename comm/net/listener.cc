#include "comm/net/listener.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "comm/net/socket.h"

namespace tutti {
namespace {

constexpr size_t kReadBytes = 1024;
constexpr size_t kMaxReported = 256;        // sources remembered, and so lines in the log
constexpr int kAcceptsPerPoll = 256;        // then those in the handshake have their turn
constexpr int64_t kRestNs = 1'000'000'000;  // between attempts to accept without descriptors
constexpr int64_t kNsPerSecond = 1'000'000'000;

// Where a random walk through a range starts: processes that start together rarely collide.
Result<uint32_t> random_below(uint32_t limit) {
  uint32_t number = 0;
  TUTTI_TRY(random_bytes(&number, sizeof(number)));
  return number % limit;
}

// 0, or the errno that says why not.
int bind_and_listen(int fd, const SocketAddress& address) {
  if (bind(fd, address.get(), address.length()) != 0) return errno;
  // Two sockets with SO_REUSEADDR may be bound to one port; only one of them may listen.
  return listen(fd, SOMAXCONN) == 0 ? 0 : errno;
}

std::string range_text(const SocketAddress& address, const PortRange& ports) {
  if (address.port() != 0 || ports.low == 0) return address.text();
  return address.host() + ", ports " + std::to_string(ports.low) + "-" + std::to_string(ports.high);
}

}  // namespace

struct Listener::HalfOpen {
  HalfOpen(UniqueFd accepted, const SocketAddress& source, const KeyRing& keys,
           const ClientHandshake::Nonce& nonce, int64_t now)
      : socket(std::move(accepted)), peer(source), handshake(keys, nonce), since_ns(now) {}

  UniqueFd socket;
  const SocketAddress peer;
  ServerHandshake handshake;
  const int64_t since_ns;
  Position self;
};

Listener::Listener(UniqueFd socket, Watch watch, const SocketAddress& address, const KeyRing& keys,
                   Log log)
    : socket_(std::move(socket)),
      watch_(std::move(watch)),
      address_(address),
      keys_(keys),
      log_(std::move(log)) {}

Listener::~Listener() {
  for (const std::unique_ptr<HalfOpen>& half : half_open_) reset_on_close(half->socket.get());
}

Result<UniqueFd> Listener::listen_on(const SocketAddress& address, const PortRange& ports) {
  const bool ranged = address.port() == 0 && ports.low != 0;
  const uint32_t count = ranged ? ports.high - ports.low + 1u : 1u;
  const Result<uint32_t> start = random_below(count);
  if (!start.ok()) return start.status();
  int failure = 0;
  for (uint32_t i = 0; i < count; ++i) {
    // A fresh socket each time: a failed listen() leaves the last one bound.
    Result<UniqueFd> made = make_socket(address.family());
    if (!made.ok()) return made;
    const int yes = 1;
    static_cast<void>(setsockopt(made.value().get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)));
    const uint32_t port = ranged ? ports.low + (start.value() + i) % count : address.port();
    failure = bind_and_listen(made.value().get(), address.with_port(static_cast<uint16_t>(port)));
    if (failure == 0) return made;
    if (failure != EADDRINUSE && failure != EACCES) break;
  }
  return error(Code::kSystemError, "cannot listen on %s: %s", range_text(address, ports).c_str(),
               errno_text(failure).c_str());
}

Result<Listener::Watch> Listener::make_watch(int socket) {
  Watch watch;
  watch.epoll.reset(epoll_create1(EPOLL_CLOEXEC));
  watch.timer.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  // Null stands for both: poll() looks after them whatever woke it.
  epoll_event event = {EPOLLIN, {.ptr = nullptr}};
  if (!watch.epoll.valid() || !watch.timer.valid() ||
      epoll_ctl(watch.epoll.get(), EPOLL_CTL_ADD, socket, &event) != 0 ||
      epoll_ctl(watch.epoll.get(), EPOLL_CTL_ADD, watch.timer.get(), &event) != 0) {
    return error(Code::kSystemError, "cannot watch a listening socket: %s",
                 errno_text(errno).c_str());
  }
  return watch;
}

Result<std::unique_ptr<Listener>> Listener::open(const SocketAddress& address,
                                                 const PortRange& ports, const KeyRing& keys,
                                                 Log log) {
  Result<UniqueFd> socket = listen_on(address, ports);
  if (!socket.ok()) return socket.status();
  const SocketAddress bound = local_address(socket.value().get());
  Result<Watch> watch = make_watch(socket.value().get());
  if (!watch.ok()) return watch.status();
  return std::unique_ptr<Listener>(new Listener(std::move(socket.value()), std::move(watch.value()),
                                                bound, keys, std::move(log)));
}

int Listener::fd() const { return watch_.epoll.get(); }

std::vector<Accepted> Listener::poll(int64_t now) {
  std::vector<Accepted> through;
  std::array<epoll_event, kMaxHalfOpen + 2> events;
  const int ready =
      epoll_wait(watch_.epoll.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < ready; ++i) {
    // Each at most once, and going on with one ends no other: none of these is gone.
    auto* const half = static_cast<HalfOpen*>(events[static_cast<size_t>(i)].data.ptr);
    if (half != nullptr) go_on(half->self, &through);
  }
  while (!half_open_.empty() && now - half_open_.front()->since_ns >= kHandshakeNs) {
    drop(half_open_.begin(), "has not proved the secret in time");
  }
  accept_new(now, &through);
  watch_next(now);
  return through;
}

void Listener::accept_new(int64_t now, std::vector<Accepted>* through) {
  for (int i = 0; i < kAcceptsPerPoll && now >= accept_again_ns_; ++i) {
    if (full() && now - half_open_.front()->since_ns < kGraceNs) return;
    if (!accept_one(now, through)) return;
  }
}

// False when there is nothing more to accept now.
bool Listener::accept_one(int64_t now, std::vector<Accepted>* through) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof(storage);
  auto* const address = reinterpret_cast<sockaddr*>(&storage);
  UniqueFd accepted(accept4(socket_.get(), address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!accepted.valid()) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    const bool shortage = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    if (shortage) stop_accepting(now, errno);
    return !shortage;  // anything else is about the connection that was not accepted
  }
  set_no_delay(accepted.get());
  const SocketAddress peer(address, length);
  ClientHandshake::Nonce nonce;
  const Status random = random_bytes(nonce.data(), nonce.size());
  if (full())
    drop(half_open_.begin(), "was the oldest of too many that have not proved the secret");
  half_open_.push_back(std::make_unique<HalfOpen>(std::move(accepted), peer, keys_, nonce, now));
  HalfOpen& half = *half_open_.back();
  half.self = std::prev(half_open_.end());
  epoll_event event = {EPOLLIN, {.ptr = &half}};
  if (!random.ok()) {
    drop(half.self, random.text());
  } else if (epoll_ctl(watch_.epoll.get(), EPOLL_CTL_ADD, half.socket.get(), &event) != 0) {
    drop(half.self, errno_text(errno));
  } else {
    go_on(half.self, through);
  }
  return true;
}

void Listener::stop_accepting(int64_t now, int failure) {
  accept_again_ns_ = now + kRestNs;
  if (told_stop_) return;
  told_stop_ = true;
  log_.warn("cannot accept connections on %s, trying again every second: %s",
            address_.text().c_str(), errno_text(failure).c_str());
}

void Listener::go_on(Position position, std::vector<Accepted>* through) {
  HalfOpen& half = **position;
  char bytes[kReadBytes];
  while (!half.handshake.done()) {
    const ssize_t got = recv(half.socket.get(), bytes, sizeof(bytes), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got < 0) return drop(position, errno_text(errno));
    if (got == 0) return drop(position, "closed the connection before it proved the secret");
    const Status fed = half.handshake.feed(std::string_view(bytes, static_cast<size_t>(got)));
    const std::string answer = half.handshake.take_outgoing();
    if (fed.ok() && answer.empty()) continue;
    const ssize_t sent = send(half.socket.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    if (!fed.ok()) return refuse(position, fed.text());
    // Two short answers always fit into the buffer of a new socket.
    if (sent != static_cast<ssize_t>(answer.size())) {
      return drop(position, sent < 0 ? errno_text(errno) : "takes no answer");
    }
  }
  // It goes on elsewhere.
  epoll_ctl(watch_.epoll.get(), EPOLL_CTL_DEL, half.socket.get(), nullptr);
  through->push_back(Accepted{Connection(std::move(half.socket), half.peer, half.handshake.early()),
                              half.handshake.hello(), half.handshake.key()});
  half_open_.erase(position);
}

// An orderly end: a verdict that was sent still arrives.
void Listener::refuse(Position position, const std::string& why) {
  report((*position)->peer, why);
  half_open_.erase(position);
}

void Listener::drop(Position position, const std::string& why) {
  reset_on_close((*position)->socket.get());
  refuse(position, why);
}

void Listener::report(const SocketAddress& source, const std::string& why) {
  if (reported_.size() >= kMaxReported) return;
  if (!reported_.insert(source.host()).second) return;
  log_.warn("refused a connection from %s: %s (said once for this address)", source.text().c_str(),
            why.c_str());
  if (reported_.size() < kMaxReported) return;
  log_.warn("connections from %zu addresses refused, no more lines about them", kMaxReported);
}

// Makes fd() readable at the right times: for the next deadline, and for new connections only when
// they would be accepted.
void Listener::watch_next(int64_t now) {
  int64_t at = half_open_.empty() ? INT64_MAX : half_open_.front()->since_ns + kHandshakeNs;
  int64_t accept_at = accept_again_ns_;
  if (full()) accept_at = std::max(accept_at, half_open_.front()->since_ns + kGraceNs);
  const bool accepts = accept_at <= now;
  if (!accepts) at = std::min(at, accept_at);
  if (accepts != watches_socket_) {
    epoll_event event = {accepts ? uint32_t{EPOLLIN} : 0u, {.ptr = nullptr}};
    if (epoll_ctl(watch_.epoll.get(), EPOLL_CTL_MOD, socket_.get(), &event) == 0) {
      watches_socket_ = accepts;
    }
  }
  itimerspec when = {};  // never
  if (at != INT64_MAX) {
    // Not in the past: zero would mean never.
    const int64_t soon = std::max<int64_t>(at, 1);
    when.it_value = {soon / kNsPerSecond, soon % kNsPerSecond};
  }
  timerfd_settime(watch_.timer.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

}  // namespace tutti
