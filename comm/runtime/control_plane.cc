#include "comm/runtime/control_plane.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

#include "comm/base/thread.h"
#include "comm/runtime/control_plane_links.h"

namespace tutti {
namespace {

// An attempt to reach another control plane takes no longer than this.
constexpr int64_t kDialNs = 5'000'000'000;
// A process that ends waits no longer than this for what it still has to say to be on its way.
constexpr int64_t kLastWordNs = 500'000'000;

}  // namespace

ControlPlane::ControlPlane() = default;

ControlPlane::~ControlPlane() { stop(); }

void ControlPlane::stop() {
  {
    MutexLock lock(mutex_);
    // A rank that fails tells its peers why on links that it may have to make first; without that
    // word they would blame it for leaving.
    const Deadline deadline = Deadline::after_ns(kLastWordNs);
    while (thread_.joinable() && has_unsaid() && !deadline.expired(now_ns())) {
      wake();
      (void)answered_.wait(mutex_, deadline);
    }
    stopping_ = true;
    answered_.notify_all();
  }
  wake();
  if (thread_.joinable()) thread_.join();
  MutexLock lock(mutex_);
  links_.clear();
  listeners_.clear();
}

bool ControlPlane::has_unsaid() const {
  return std::any_of(links_.begin(), links_.end(), [](const std::unique_ptr<Link>& link) {
    if (link->closed) return false;
    return link->dial != nullptr ? !link->waiting.empty() : link->connection->has_unsent();
  });
}

void ControlPlane::wake() {
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

Result<SocketAddress> ControlPlane::listen(const SocketAddress& host, const PortRange& ports,
                                           Log log) {
  MutexLock lock(mutex_);
  if (!wake_.valid()) wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.valid()) {
    return error(Code::kSystemError, "control plane: eventfd: %s", std::strerror(errno));
  }
  for (const std::unique_ptr<Listener>& listener : listeners_) {
    if (listener->address().host() == host.host()) return listener->address();
  }
  Result<std::unique_ptr<Listener>> made = Listener::open(host.with_port(0), ports, keys_, log);
  if (!made.ok()) return made.status();
  if (!thread_.joinable())
    TUTTI_TRY(start_thread(&thread_, "the control plane", [this] { run(); }));
  log_ = std::move(log);
  listeners_.push_back(std::move(made.value()));
  wake();
  return listeners_.back()->address();
}

void ControlPlane::enter(std::shared_ptr<const World> world) {
  MutexLock lock(mutex_);
  keys_.add(world->secret);
  WorldState& state = worlds_[{world->id, world->rank}];
  state.world = std::move(world);
}

void ControlPlane::exit(const World& world) {
  MutexLock lock(mutex_);
  keys_.remove(world.secret);
  worlds_.erase({world.id, world.rank});
  for (const std::unique_ptr<Link>& link : links_) {
    if (link->world == world.id && link->self == world.rank) link->closed = true;
  }
  wake();
}

void ControlPlane::join(const Membership& m) {
  MutexLock lock(mutex_);
  const SeatKey key{m.world->id, m.world->rank, m.comm};
  Seat& seat = seats_[key];
  seat.m = m;
  WorldState& state = worlds_[{m.world->id, m.world->rank}];
  std::vector<std::pair<int, ControlMessage>> early = std::exchange(state.early, {});
  for (auto& [from, message] : early) {
    if (message.comm == m.comm) {
      learn(seat, from, message);
    } else {
      state.early.emplace_back(from, std::move(message));
    }
  }
}

void ControlPlane::leave(const Membership& m) {
  MutexLock lock(mutex_);
  const std::optional<Failure> failure = m.board->failure();
  ControlMessage left;
  left.type = ControlMessage::kLeft;
  left.comm = m.comm;
  // The word about a failure may still be on its way on a link that is being made. A peer that
  // heard of the end alone would take this rank for the cause.
  if (failure.has_value()) left.set_failure(*failure);
  for (int peer : m.members) {
    for (const std::unique_ptr<Link>& link : links_) {
      const bool theirs = link->is_of(m.world->id, m.world->rank, peer);
      if (!theirs || link->connection == nullptr) continue;
      link->connection->queue(left.type, left.encode());
      (void)link->connection->flush();  // the process may end before the thread comes to it
    }
  }
  seats_.erase({m.world->id, m.world->rank, m.comm});
  const auto state = worlds_.find({m.world->id, m.world->rank});
  if (state != worlds_.end()) state->second.ended[m.comm] = failure;
}

void ControlPlane::announce(const Membership& m) {
  ControlMessage present;
  present.type = ControlMessage::kPresent;
  present.comm = m.comm;
  MutexLock lock(mutex_);
  tell_all(m, present);
}

void ControlPlane::fail(const Membership& m, const Failure& failure) {
  ControlMessage message;
  message.type = ControlMessage::kFailure;
  message.comm = m.comm;
  message.set_failure(failure);
  MutexLock lock(mutex_);
  tell_all(m, message);
}

void ControlPlane::watch(const Membership& m, int rank) {
  ControlMessage ask;
  ask.comm = m.comm;
  MutexLock lock(mutex_);
  tell(m, rank, ask);
}

void ControlPlane::ask_all(const Membership& m, Deadline deadline) {
  MutexLock lock(mutex_);
  ControlMessage ask;
  ask.comm = m.comm;
  ask.question = ++questions_;
  std::vector<int>& missing = awaited_[ask.question];
  for (int peer : m.members) {
    if (peer != m.world->rank) missing.push_back(peer);
  }
  tell_all(m, ask);
  while (!awaited_[ask.question].empty() && !stopping_) {
    if (!answered_.wait(mutex_, deadline) && deadline.expired(now_ns())) break;
  }
  awaited_.erase(ask.question);
}

void ControlPlane::tell_all(const Membership& m, const ControlMessage& message) {
  for (size_t r = 0; r < m.members.size(); ++r) {
    if (static_cast<int>(r) != m.rank) tell(m, static_cast<int>(r), message);
  }
}

void ControlPlane::tell(const Membership& m, int rank, const ControlMessage& message) {
  if (stopping_) return;
  Link* link = link_to(*m.world, m.members[static_cast<size_t>(rank)]);
  if (link->connection != nullptr) {
    link->connection->queue(message.type, message.encode());
    (void)link->connection->flush();
  } else {
    append_frame(message.type, message.encode(), &link->waiting);
  }
  wake();
}

// The link to another rank of the world; begun when there is none.
ControlPlane::Link* ControlPlane::link_to(const World& world, int peer) {
  for (const std::unique_ptr<Link>& link : links_) {
    if (link->is_of(world.id, world.rank, peer)) return link.get();
  }
  auto link = std::make_unique<Link>();
  link->world = world.id;
  link->self = world.rank;
  link->peer = peer;
  link->give_up_ns = now_ns() + kDialNs;
  link->dial = std::make_unique<Dial>(world.control[static_cast<size_t>(peer)], world.secret,
                                      ControlHello{world.id, world.rank, peer}.encode());
  links_.push_back(std::move(link));
  return links_.back().get();
}

}  // namespace tutti
