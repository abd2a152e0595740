#include "transports/shm/shm.h"

#include <cstring>
#include <utility>
#include <vector>

#include "comm/base/check.h"
#include "transports/ring/capabilities.h"
#include "transports/ring/channel.h"
#include "transports/ring/ending.h"

namespace tutti {
namespace {

std::shared_ptr<ShmOwn> make_own(const std::shared_ptr<OwnRegions>& regions,
                                 const ShmOptions& options) {
  std::shared_ptr<BlockPool> blocks = options.blocks;
  if (!blocks) blocks = std::make_shared<BlockPool>(regions);
  return std::make_shared<ShmOwn>(regions, std::move(blocks), options.buffer_cap, options.log);
}

Capabilities make_capabilities() {
  Capabilities c = ring_capabilities();
  c.fetch = true;  // memory that peers have not mapped
  return c;
}

}  // namespace

ShmTransport::ShmTransport(int number, const Secret& secret,
                           const std::shared_ptr<OwnRegions>& regions, const ShmOptions& options)
    : number_(number),
      options_(options),
      capabilities_(make_capabilities()),
      own_(make_own(regions, options)),
      connector_({number, options.nranks, secret, options.connect_ns, options.patience}, own_) {}

Result<std::unique_ptr<Transport>> ShmTransport::open(int number, const Secret& secret,
                                                      const std::shared_ptr<OwnRegions>& regions,
                                                      const ShmOptions& options) {
  std::unique_ptr<ShmTransport> transport(new ShmTransport(number, secret, regions, options));
  TUTTI_TRY(transport->make_door());
  const int refused = transport->own_->regions->nodes().refused();
  if (refused != 0) {
    options.log.debug("shm %d: memory is not placed on nodes (mbind: %s)", number,
                      std::strerror(refused));
  }
  MutexLock lock(transport->connecting_);
  TUTTI_TRY(transport->connector_.listen());
  transport->address_ = transport->connector_.address();
  return std::unique_ptr<Transport>(std::move(transport));
}

Status ShmTransport::make_door() {
  Result<void*> memory = own_->regions->add(sizeof(Door));
  if (!memory.ok()) return memory.status();
  own_->door = static_cast<Door*>(memory.value());  // zeros are a door
  const RegionPlace place = own_->regions->find(own_->door, sizeof(Door));
  own_->door_file = own_->regions->file(place.slot, place.generation);
  own_->door_file.offset += place.offset;
  own_->bell = bell_.shared_fd();
  door_ = std::make_shared<OwnDoor>(own_->door, own_, OwnDoor::Reach::kHost, "shm");
  return Status();
}

ShmTransport::~ShmTransport() {
  MutexLock lock(mutex_);
  for (const auto& [peer, known] : peers_) known.link->leave();
  for (const auto& [handle, start] : remapped_) (void)own_->regions->restore(start);
}

Status ShmTransport::connect(int peer, std::string_view text) {
  const std::optional<ShmAddress> address = ShmAddress::decode(text);
  if (!address.has_value()) {
    return error(Code::kInvalidArgument, "shm %d: %zu bytes given for peer %d are no address",
                 number_, text.size(), peer);
  }
  MutexLock connecting(connecting_);
  {
    MutexLock lock(mutex_);
    const auto known = peers_.find(peer);
    if (known != peers_.end()) {
      if (known->second.nonce == address->nonce) return Status();
      return error(Code::kInvalidUsage, "shm %d: peer %d is connected to another endpoint", number_,
                   peer);
    }
  }
  const bool self = address->nonce == address_.nonce;
  Result<std::shared_ptr<ShmLink>> link =
      self ? ShmLink::make_to_self(own_, peer) : connector_.connect(peer, *address);
  if (!link.ok()) return link.status();
  bell_.add(link.value());
  if (!self && options_.read_peers) probe(*link.value(), peer, *address);
  MutexLock lock(mutex_);
  peers_.emplace(peer, Peer{address->nonce, std::move(link.value())});
  return Status();
}

void ShmTransport::probe(ShmLink& link, int peer, const ShmAddress& address) {
  const int refused = link.probe(address.probe, address.nonce);
  if (refused == 0) return;
  options_.log.warn_once(
      "shm-copies",
      "shm %d: the memory of peer %d cannot be read directly (process_vm_readv: %s; see "
      "kernel.yama.ptrace_scope), so what is not from tuttiMemAlloc is copied twice",
      number_, peer, std::strerror(refused));
}

Status ShmTransport::settle() {
  MutexLock connecting(connecting_);
  return connector_.settle();
}

Result<std::shared_ptr<RingLink>> ShmTransport::link_with(int peer) {
  MutexLock lock(mutex_);
  const auto known = peers_.find(peer);
  if (known == peers_.end()) {
    return error(Code::kInvalidUsage, "shm %d: peer %d is not connected", number_, peer);
  }
  const Result<bool> settled = known->second.link->is_settled();
  if (!settled.ok()) return settled.status();
  if (settled.value()) return std::shared_ptr<RingLink>(known->second.link);
  return error(Code::kInvalidUsage, "shm %d: peer %d has not answered yet", number_, peer);
}

Result<std::unique_ptr<SendChannel>> ShmTransport::open_send(const ChannelKey& key) {
  Result<std::shared_ptr<RingLink>> link = link_with(key.peer);
  if (!link.ok()) return link.status();
  return RingSendChannel::open(link.value(), key, ring_limits(options_.crowded));
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

Status ShmTransport::register_memory(void* base, size_t bytes, bool remap, uint64_t* handle) {
  TUTTI_TRY(registrations_.add(base, bytes, handle));
  if (!remap) return Status();
  const Result<void*> start = own_->regions->remap(base, bytes, OwnRegions::kReserve);
  if (!start.ok()) {
    (void)registrations_.remove(*handle);
    return start.status();
  }
  MutexLock lock(mutex_);
  if (start.value() != nullptr) remapped_[*handle] = start.value();
  return Status();
}

Status ShmTransport::deregister_memory(uint64_t handle) {
  void* start = nullptr;
  {
    MutexLock lock(mutex_);
    const auto found = remapped_.find(handle);
    if (found != remapped_.end()) {
      start = found->second;
      remapped_.erase(found);
    }
  }
  Status restored = start != nullptr ? own_->regions->restore(start) : Status();
  if (restored.code() == Code::kOutOfMemory) {
    MutexLock lock(mutex_);
    remapped_[handle] = start;
    return restored;
  }
  TUTTI_TRY(registrations_.remove(handle));
  return restored;
}

bool ShmTransport::is_shared(const void* base, size_t bytes) const {
  return bytes == 0 || own_->regions->find(base, bytes).generation != 0;
}

void ShmTransport::abort(uint64_t comm) {
  std::vector<std::shared_ptr<RingLink>> links;
  {
    MutexLock lock(mutex_);
    for (const auto& [peer, known] : peers_) links.push_back(known.link);
  }
  const std::string kept = end_communicator(links, comm, OwnDoor::Reach::kHost, options_.kernel_ns);
  if (kept.empty()) return;
  MutexLock lock(mutex_);
  still_lent_[comm] += kept;
}

std::string ShmTransport::still_lent(uint64_t comm) const {
  MutexLock lock(mutex_);
  const auto found = still_lent_.find(comm);
  return found == still_lent_.end() ? std::string() : found->second;
}

}  // namespace tutti
