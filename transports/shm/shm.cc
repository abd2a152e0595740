#include "transports/shm/shm.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "comm/base/check.h"
#include "comm/base/clock.h"
#include "transports/ring/channel.h"
#include "transports/ring/ending.h"

namespace tutti {
namespace {

constexpr int kMaxParts = 1024;
constexpr size_t kMaxMessageBytes = (size_t{1} << 56) - 1;  // what a message's tag can say
constexpr size_t kMostGuests = 64;  // connections that have not said who they are
constexpr int kPollMs = 100;

// As between threads (inproc.cc).
constexpr WaitRungs kRungs = {2000, 2000};

Capabilities make_capabilities() {
  Capabilities c;
  c.slots = kRingSlots;
  c.max_message_bytes = kMaxMessageBytes;
  c.max_parts = kMaxParts;
  c.view = true;
  c.place = true;
  c.fetch = true;
  c.rungs = kRungs;
  return c;
}

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

}  // namespace

ShmTransport::ShmTransport(int number, const Secret& secret, std::shared_ptr<OwnRegions> regions,
                           const ShmOptions& options)
    : number_(number),
      secret_(secret),
      options_(options),
      capabilities_(make_capabilities()),
      probe_(std::make_unique<ShmNonce>()),
      own_(std::make_shared<ShmOwn>(std::move(regions))) {}

Result<std::unique_ptr<Transport>> ShmTransport::open(int number, const Secret& secret,
                                                      std::shared_ptr<OwnRegions> regions,
                                                      const ShmOptions& options) {
  std::unique_ptr<ShmTransport> transport(
      new ShmTransport(number, secret, std::move(regions), options));
  TUTTI_TRY(transport->make_door());
  TUTTI_TRY(transport->listen());
  return std::unique_ptr<Transport>(std::move(transport));
}

Status ShmTransport::make_door() {
  Result<void*> memory = own_->regions->add(sizeof(Door));
  if (!memory.ok()) return memory.status();
  own_->door = static_cast<Door*>(memory.value());  // zeros are a door
  own_->bell = bell_.shared_fd();
  door_ = std::make_shared<OwnDoor>(own_->door, own_, OwnDoor::Reach::kHost, "shm");
  return Status();
}

Status ShmTransport::listen() {
  TUTTI_TRY(random_bytes(probe_->data(), probe_->size()));
  own_address_.number = static_cast<uint32_t>(number_);
  own_address_.nonce = *probe_;
  own_address_.probe = reinterpret_cast<uint64_t>(probe_->data());
  listener_ = make_socket();
  sockaddr_un name;
  const socklen_t length = fill(&name, own_address_.socket_name());
  if (!listener_.valid() ||
      bind(listener_.get(), reinterpret_cast<const sockaddr*>(&name), length) != 0 ||
      ::listen(listener_.get(), SOMAXCONN) != 0) {
    return error(Code::kSystemError, "shm %d: cannot listen on a unix socket: %s", number_,
                 std::strerror(errno));
  }
  return Status();
}

ShmTransport::~ShmTransport() {
  MutexLock lock(mutex_);
  for (const auto& [peer, known] : peers_) known.link->leave();
}

Status ShmTransport::connect(int peer, std::string_view text) {
  const std::optional<ShmAddress> address = ShmAddress::decode(text);
  if (!address.has_value()) {
    return error(Code::kInvalidArgument, "shm %d: %zu bytes given for peer %d are no address",
                 number_, text.size(), peer);
  }
  MutexLock lock(mutex_);
  const auto known = peers_.find(peer);
  if (known != peers_.end()) {
    if (known->second.nonce == address->nonce) return Status();
    return error(Code::kInvalidUsage, "shm %d: peer %d is connected to another endpoint", number_,
                 peer);
  }
  const bool self = address->nonce == own_address_.nonce;
  LinkResult link = self                                    ? ShmLink::make_to_self(own_, peer)
                    : own_address_.number < address->number ? connect_to(peer, *address)
                                                            : wait_for(peer, *address);
  if (!link.ok()) return link.status();
  if (!self) link.value()->show_door();
  bell_.add(link.value());
  if (!self && options_.read_peers) link.value()->probe(address->probe, address->nonce);
  peers_.emplace(peer, Peer{address->nonce, std::move(link.value())});
  return Status();
}

// The end with the lower number makes the segment. It needs no answer: what the other end has to
// say it says later.
ShmTransport::LinkResult ShmTransport::connect_to(int peer, const ShmAddress& address) {
  UniqueFd socket = make_socket();
  sockaddr_un name;
  const socklen_t length = fill(&name, address.socket_name());
  if (!socket.valid() ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), length) != 0) {
    return error(Code::kUnsupported,
                 "shm %d: peer %d cannot be reached from here (%s): it has ended, or is on another "
                 "host or in another network namespace",
                 number_, peer, std::strerror(errno));
  }
  if (!is_own_user(socket.get())) {
    return error(Code::kUnsupported, "shm %d: peer %d belongs to another user", number_, peer);
  }
  Result<Segment> segment = Segment::create_unmapped(ShmLink::segment_bytes());
  if (!segment.ok()) return segment.status();
  const int fd = segment.value().fd();
  ShmLink::Connection connection{std::move(socket), std::move(segment.value()), false,
                                 shm_proof(secret_, address.nonce, own_address_.nonce)};
  const int said = connection.socket.get();
  LinkResult link = ShmLink::make(own_, peer, 0, std::move(connection));
  if (!link.ok()) return link;
  ShmRecord hello = {};
  hello.kind = ShmRecordKind::kHello;
  hello.slot = own_address_.number;
  hello.bytes = ShmLink::segment_bytes();
  hello.nonce = own_address_.nonce;
  hello.proof = shm_proof(secret_, own_address_.nonce, address.nonce);
  if (!send_record(said, hello, fd)) {
    return error(Code::kRemoteError, "shm %d: peer %d does not take our segment: %s", number_, peer,
                 std::strerror(errno));
  }
  return link;
}

ShmTransport::LinkResult ShmTransport::wait_for(int peer, const ShmAddress& address) {
  const Deadline deadline = Deadline::after_ns(options_.connect_ns);
  for (;;) {
    accept_waiting();
    LinkResult link = take_hello(peer, address);
    if (!link.ok() || link.value() != nullptr) return link;
    if (deadline.expired(now_ns())) {
      return error(Code::kTimeout, "shm %d: peer %d has not connected within %.3g s", number_, peer,
                   static_cast<double>(options_.connect_ns) * 1e-9);
    }
    std::vector<pollfd> entries = {{listener_.get(), POLLIN, 0}};
    for (const Guest& guest : guests_) {
      if (!guest.introduced) entries.push_back({guest.socket.get(), POLLIN, 0});
    }
    poll(entries.data(), entries.size(), kPollMs);
  }
}

// Takes in whoever waits at the door, and what they have said.
void ShmTransport::accept_waiting() {
  for (;;) {
    UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) break;
    if (!is_own_user(socket.get())) continue;
    guests_.emplace_back();
    guests_.back().socket = std::move(socket);
  }
  for (auto guest = guests_.begin(); guest != guests_.end();) {
    ShmReceived received = ShmReceived::kNothing;
    if (!guest->introduced) {
      received = receive_record(guest->socket.get(), &guest->hello, &guest->segment);
    }
    guest->introduced = guest->introduced || received == ShmReceived::kRecord;
    guest = received == ShmReceived::kEnd ? guests_.erase(guest) : std::next(guest);
  }
  const auto silent = [](const Guest& guest) { return !guest.introduced; };
  while (static_cast<size_t>(std::count_if(guests_.begin(), guests_.end(), silent)) > kMostGuests) {
    guests_.erase(std::find_if(guests_.begin(), guests_.end(), silent));
  }
}

// The link with the guest that is `peer`; null when it has not come yet.
ShmTransport::LinkResult ShmTransport::take_hello(int peer, const ShmAddress& address) {
  for (auto guest = guests_.begin(); guest != guests_.end(); ++guest) {
    const ShmRecord& hello = guest->hello;
    const bool is_peer = guest->introduced && hello.kind == ShmRecordKind::kHello &&
                         hello.nonce == address.nonce &&
                         same(hello.proof, shm_proof(secret_, address.nonce, own_address_.nonce));
    if (!is_peer) continue;
    Guest taken = std::move(*guest);
    guests_.erase(guest);
    return welcome(peer, address, std::move(taken.socket), taken.hello, std::move(taken.segment));
  }
  return std::shared_ptr<ShmLink>();
}

ShmTransport::LinkResult ShmTransport::welcome(int peer, const ShmAddress& address, UniqueFd socket,
                                               const ShmRecord& hello, UniqueFd segment) {
  if (hello.bytes != ShmLink::segment_bytes()) {
    return error(Code::kInvalidArgument, "shm %d: peer %d has a segment of %llu bytes, not %zu",
                 number_, peer, static_cast<unsigned long long>(hello.bytes),
                 ShmLink::segment_bytes());
  }
  Result<Segment> adopted = Segment::adopt_unmapped(std::move(segment), hello.bytes);
  if (!adopted.ok()) return adopted.status();
  ShmRecord answer = {};
  answer.kind = ShmRecordKind::kWelcome;
  answer.proof = shm_proof(secret_, own_address_.nonce, address.nonce);
  if (!send_record(socket.get(), answer, -1)) {
    return error(Code::kRemoteError, "shm %d: peer %d has gone", number_, peer);
  }
  return ShmLink::make(own_, peer, 1,
                       {std::move(socket), std::move(adopted.value()), true, Digest{}});
}

Result<std::shared_ptr<RingLink>> ShmTransport::link_with(int peer) {
  MutexLock lock(mutex_);
  const auto known = peers_.find(peer);
  if (known != peers_.end()) return std::shared_ptr<RingLink>(known->second.link);
  return error(Code::kInvalidUsage, "shm %d: peer %d is not connected", number_, peer);
}

Result<std::unique_ptr<SendChannel>> ShmTransport::open_send(const ChannelKey& key) {
  Result<std::shared_ptr<RingLink>> link = link_with(key.peer);
  if (!link.ok()) return link.status();
  return RingSendChannel::open(link.value(), key, capabilities_.slots);
}

Result<std::unique_ptr<RecvChannel>> ShmTransport::open_recv(const ChannelKey& key) {
  Result<std::shared_ptr<RingLink>> link = link_with(key.peer);
  if (!link.ok()) return link.status();
  return RingRecvChannel::open(link.value(), key);
}

Result<void*> ShmTransport::alloc(size_t bytes) { return own_->regions->add(bytes); }

void ShmTransport::free(void* base) {
  if (base == nullptr) return;
  TUTTI_CHECK(own_->regions->remove(base), "free of memory that alloc did not give out");
}

void ShmTransport::abort(uint64_t comm) {
  std::vector<std::shared_ptr<RingLink>> links;
  {
    MutexLock lock(mutex_);
    for (const auto& [peer, known] : peers_) links.push_back(known.link);
  }
  const Status ended = end_communicator(links, comm, OwnDoor::Reach::kHost, options_.kernel_ns);
  if (ended.ok()) return;
  MutexLock lock(mutex_);
  still_lent_[comm] = ended.text();
}

std::string ShmTransport::still_lent(uint64_t comm) const {
  MutexLock lock(mutex_);
  const auto found = still_lent_.find(comm);
  return found == still_lent_.end() ? std::string() : found->second;
}

}  // namespace tutti
