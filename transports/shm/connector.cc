#include "transports/shm/connector.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <utility>

namespace tutti {
namespace {

constexpr size_t kMostStrangers = 64;  // connections beyond one per rank that have not spoken
constexpr int kPollMs = 20;
constexpr int kRetryMs = 1;

UniqueFd make_socket() {
  return UniqueFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// In the abstract name space: the first byte of the path is zero.
socklen_t fill(sockaddr_un* out, const std::string& name) {
  std::memset(static_cast<void*>(out), 0, sizeof(*out));
  out->sun_family = AF_UNIX;
  std::memcpy(out->sun_path + 1, name.data(), name.size());
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

bool is_own_user(int socket) {
  ucred who = {};
  socklen_t length = sizeof(who);
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 && who.uid == geteuid();
}

// By the plan, but so that there is time left to agree on another way.
Deadline deadline_of(int64_t connect_ns, const Patience& patience) {
  if (patience.deadline.is_never()) return Deadline::after_ns(connect_ns);
  const int64_t left = std::max<int64_t>(patience.deadline.at_ns() - now_ns(), 0);
  return Deadline::after_ns(std::min(connect_ns, left / 2));
}

}  // namespace

ShmConnector::ShmConnector(const Plan& plan, std::shared_ptr<ShmOwn> own)
    : plan_(plan), own_(std::move(own)), probe_(std::make_unique<ShmNonce>()) {}

Status ShmConnector::listen() {
  TUTTI_TRY(random_bytes(probe_->data(), probe_->size()));
  address_.number = static_cast<uint32_t>(plan_.number);
  address_.nonce = *probe_;
  address_.probe = reinterpret_cast<uint64_t>(probe_->data());
  listener_ = make_socket();
  sockaddr_un name;
  const socklen_t length = fill(&name, address_.socket_name());
  if (!listener_.valid() ||
      bind(listener_.get(), reinterpret_cast<const sockaddr*>(&name), length) != 0 ||
      ::listen(listener_.get(), SOMAXCONN) != 0) {
    return error(Code::kSystemError, "shm %d: cannot listen on a unix socket: %s", plan_.number,
                 std::strerror(errno));
  }
  return Status();
}

ShmConnector::LinkResult ShmConnector::connect(int peer, const ShmAddress& address) {
  if (deadline_.is_never()) deadline_ = deadline_of(plan_.connect_ns, plan_.patience);
  LinkResult link =
      address_.number < address.number ? call(peer, address) : wait_for(peer, address);
  if (link.ok()) links_.push_back({peer, link.value()});
  return link;
}

// The end with the lower number makes the segment.
ShmConnector::LinkResult ShmConnector::call(int peer, const ShmAddress& address) {
  Result<Segment> segment = Segment::create_unmapped(ShmLink::segment_bytes());
  if (!segment.ok()) return segment.status();
  const int fd = segment.value().fd();
  UniqueFd socket = make_socket();
  if (!socket.valid()) {
    return error(Code::kSystemError, "shm %d: no socket to call peer %d: %s", plan_.number, peer,
                 std::strerror(errno));
  }
  TUTTI_TRY(reach(socket.get(), peer, address));
  ShmLink::Connection connection{std::move(socket), std::move(segment.value()),
                                 shm_proof(plan_.secret, address.nonce, address_.nonce)};
  const int said = connection.socket.get();
  LinkResult link = ShmLink::make(own_, peer, 0, std::move(connection));
  if (!link.ok()) return link;
  std::vector<int> fds;
  ShmRecord hello = introduction(ShmRecordKind::kHello, address, &fds);
  hello.bytes = ShmLink::segment_bytes();
  fds.push_back(fd);
  TUTTI_TRY(say(said, peer, hello, fds));
  return link;
}

Status ShmConnector::reach(int socket, int peer, const ShmAddress& address) {
  sockaddr_un name;
  const socklen_t length = fill(&name, address.socket_name());
  while (::connect(socket, reinterpret_cast<const sockaddr*>(&name), length) != 0) {
    if (may_clear(errno)) {  // too many are calling it at this moment
      TUTTI_TRY(pause(peer, "has no time for us", kRetryMs));
      continue;
    }
    return error(Code::kUnsupported,
                 "shm %d: peer %d cannot be reached from here (%s): it has ended, or is on another "
                 "host or in another network name space",
                 plan_.number, peer, std::strerror(errno));
  }
  if (is_own_user(socket)) return Status();
  return error(Code::kUnsupported, "shm %d: peer %d belongs to another user", plan_.number, peer);
}

// Who we are and where our door and bell are.
ShmRecord ShmConnector::introduction(ShmRecordKind kind, const ShmAddress& to,
                                     std::vector<int>* fds) const {
  ShmRecord record = {};
  record.kind = kind;
  record.nonce = address_.nonce;
  record.proof = shm_proof(plan_.secret, address_.nonce, to.nonce);
  record.offset = own_->door_file.offset;
  record.node = own_->node;
  fds->push_back(own_->door_file.segment->fd());
  record.has_bell = own_->bell->valid() ? 1 : 0;
  if (own_->bell->valid()) fds->push_back(own_->bell->get());
  return record;
}

Status ShmConnector::say(int socket, int peer, const ShmRecord& record,
                         const std::vector<int>& fds) {
  for (;;) {
    const int failed = send_record(socket, record, fds);
    if (failed == 0) return Status();
    if (!may_clear(failed)) {
      return error(Code::kRemoteError, "shm %d: peer %d does not hear us: %s", plan_.number, peer,
                   std::strerror(failed));
    }
    TUTTI_TRY(pause(peer, "does not take what we send it", kRetryMs));
  }
}

// Attends to others for a moment. Not ok when there is no time left.
Status ShmConnector::pause(int peer, const char* what, int poll_ms) {
  serve();
  if (plan_.patience.abort != nullptr && plan_.patience.abort->load(std::memory_order_acquire)) {
    return error(Code::kAborted, "shm %d: aborted while connecting to peer %d", plan_.number, peer);
  }
  if (deadline_.expired(now_ns())) {
    std::string text = "peer " + std::to_string(peer) + " " + what;
    if (listener_errno_ != 0) {
      text += std::string("; nobody could be let in: ") + std::strerror(listener_errno_);
    }
    return error(Code::kTimeout, "shm %d: gave up connecting: %s", plan_.number, text.c_str());
  }
  std::vector<pollfd> entries;
  if (listener_.valid() && listener_errno_ == 0) entries.push_back({listener_.get(), POLLIN, 0});
  for (const Guest& guest : guests_) {
    if (!guest.introduced) entries.push_back({guest.socket.get(), POLLIN, 0});
  }
  poll(entries.data(), entries.size(), poll_ms);
  return Status();
}

ShmConnector::LinkResult ShmConnector::wait_for(int peer, const ShmAddress& address) {
  for (;;) {
    serve();
    const auto guest = std::find_if(guests_.begin(), guests_.end(), [&](const Guest& g) {
      return g.introduced && g.hello.nonce == address.nonce;
    });
    if (guest != guests_.end()) {
      Guest taken = std::move(*guest);
      guests_.erase(guest);
      return welcome(peer, address, std::move(taken));
    }
    TUTTI_TRY(pause(peer, "has not connected", kPollMs));
  }
}

ShmConnector::LinkResult ShmConnector::welcome(int peer, const ShmAddress& address, Guest guest) {
  if (guest.cut) {
    return error(Code::kSystemError,
                 "shm %d: what peer %d has sent cannot be taken: this process can open no further "
                 "files (ulimit -n)",
                 plan_.number, peer);
  }
  if (guest.hello.bytes != ShmLink::segment_bytes()) {
    return error(Code::kInvalidArgument, "shm %d: peer %d has a segment of %llu bytes, not %zu",
                 plan_.number, peer, static_cast<unsigned long long>(guest.hello.bytes),
                 ShmLink::segment_bytes());
  }
  const size_t index = guest.hello.has_bell != 0 ? 2 : 1;
  Result<Segment> segment =
      Segment::adopt_unmapped(std::move(guest.fds[index]), ShmLink::segment_bytes());
  if (!segment.ok()) return segment.status();
  const int said = guest.socket.get();
  LinkResult link = ShmLink::make(
      own_, peer, 1, {std::move(guest.socket), std::move(segment.value()), std::nullopt});
  if (!link.ok()) return link;
  TUTTI_TRY(link.value()->meet(guest.hello, std::move(guest.fds)));
  std::vector<int> fds;
  const ShmRecord answer = introduction(ShmRecordKind::kWelcome, address, &fds);
  TUTTI_TRY(say(said, peer, answer, fds));
  return link;
}

Status ShmConnector::settle() {
  for (const Answer& answer : links_) {
    for (;;) {
      const Result<bool> settled = answer.link->is_settled();
      if (!settled.ok()) return settled.status();
      if (settled.value()) break;
      TUTTI_TRY(pause(answer.peer, "has not answered", kRetryMs));
    }
  }
  links_.clear();
  guests_.clear();
  listener_.reset();
  return Status();
}

// Takes in whoever calls, and what they and the links say: descriptors on their way count against a
// limit of the user, so nobody may leave them lying.
void ShmConnector::serve() {
  accept_guests();
  hear_guests();
  for (const Answer& answer : links_) (void)answer.link->is_settled();
}

void ShmConnector::accept_guests() {
  listener_errno_ = 0;
  while (listener_.valid()) {
    UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      if (!may_clear(errno)) listener_errno_ = errno;
      return;
    }
    if (!is_own_user(socket.get())) continue;
    guests_.emplace_back();
    guests_.back().socket = std::move(socket);
  }
}

void ShmConnector::hear_guests() {
  for (auto guest = guests_.begin(); guest != guests_.end();) {
    bool gone = false;
    if (!guest->introduced) {
      const ShmReceived got = receive_record(guest->socket.get(), &guest->hello, &guest->fds);
      guest->cut = got == ShmReceived::kCut;
      guest->introduced = (got == ShmReceived::kRecord || guest->cut) && is_welcome(guest->hello);
      gone = !guest->introduced && got != ShmReceived::kNothing;
    }
    guest = gone ? guests_.erase(guest) : std::next(guest);
  }
  const auto silent = [](const Guest& guest) { return !guest.introduced; };
  const size_t most = kMostStrangers + static_cast<size_t>(plan_.nranks);
  while (static_cast<size_t>(std::count_if(guests_.begin(), guests_.end(), silent)) > most) {
    guests_.erase(std::find_if(guests_.begin(), guests_.end(), silent));
  }
}

bool ShmConnector::is_welcome(const ShmRecord& hello) const {
  return hello.kind == ShmRecordKind::kHello &&
         same(hello.proof, shm_proof(plan_.secret, hello.nonce, address_.nonce));
}

}  // namespace tutti
