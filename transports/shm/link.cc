#include "transports/shm/link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

#include "comm/base/clock.h"
#include "transports/ring/bell.h"
#include "transports/shm/ring_nodes.h"

namespace tutti {
namespace {

constexpr size_t kHeadBytes = kPageBytes;
static_assert(sizeof(LinkHead) <= kHeadBytes);
static_assert(sizeof(RingBlock) % kPageBytes == 0);
constexpr uint32_t kMostBlocks = 512;  // 8192 orders at once

// How often to ask the socket whether the peer is there.
constexpr int64_t kLookNs = 1'000'000;

// Nothing where the kernel does not know that (Linux 5.3) or forbids it.
UniqueFd open_process(pid_t pid) {
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

}  // namespace

size_t ShmLink::segment_bytes() { return kHeadBytes + kMostBlocks * sizeof(RingBlock); }

Result<std::shared_ptr<ShmLink>> ShmLink::make(std::shared_ptr<ShmOwn> own, int peer, int side,
                                               Connection connection) {
  ucred who = {};
  socklen_t length = sizeof(who);
  if (getsockopt(connection.socket.get(), SOL_SOCKET, SO_PEERCRED, &who, &length) != 0) {
    return error(Code::kSystemError, "shm: who is peer %d? %s", peer, std::strerror(errno));
  }
  std::shared_ptr<ShmLink> link(new ShmLink(std::move(own), peer, side, false));
  link->own_side_ = side;
  link->peer_pid_ = who.pid;  // 0 when it is in another pid namespace
  link->socket_ = std::move(connection.socket);
  link->segment_ = std::move(connection.segment);
  TUTTI_TRY(link->map_head());
  if (side == 0) TUTTI_TRY(link->head_->mutex.init());
  if (who.pid != 0) link->peer_process_ = open_process(who.pid);
  MutexLock lock(link->mutex_);
  link->expected_ = connection.expected;
  return link;
}

Result<std::shared_ptr<ShmLink>> ShmLink::make_to_self(std::shared_ptr<ShmOwn> own, int peer) {
  Result<Segment> segment = Segment::create_unmapped(segment_bytes());
  if (!segment.ok()) return segment.status();
  std::shared_ptr<ShmLink> link(new ShmLink(std::move(own), peer, -1, true));
  link->segment_ = std::move(segment.value());
  TUTTI_TRY(link->map_head());
  TUTTI_TRY(link->head_->mutex.init());
  return link;
}

ShmLink::~ShmLink() {
  if (head_ != nullptr) munmap(head_, kHeadBytes);
  for (RingBlock* block : blocks_) {
    if (block != nullptr) munmap(block, sizeof(RingBlock));
  }
  for (PeerRegion& region : peer_regions_) {
    if (region.base != nullptr) munmap(region.base, region.bytes);
  }
  MutexLock lock(mutex_);
  for (const iovec& retired : retired_) munmap(retired.iov_base, retired.iov_len);
  if (peer_door_ != nullptr) munmap(peer_door_, sizeof(Door));
}

Status ShmLink::map_head() {
  Result<void*> at = segment_.map(0, kHeadBytes);
  if (!at.ok()) return at.status();
  head_ = static_cast<LinkHead*>(at.value());
  return Status();
}

Result<RingBlock*> ShmLink::block(uint32_t index) {
  if (index >= kMostBlocks) {
    return error(Code::kOutOfMemory, "shm: more than %u channels are open with one peer",
                 kMostBlocks * kBlockPairs);
  }
  MutexLock lock(mutex_);
  if (blocks_.size() <= index) blocks_.resize(index + 1);
  if (blocks_[index] == nullptr) {
    const size_t offset = kHeadBytes + index * sizeof(RingBlock);
    Result<void*> at = segment_.map(offset, sizeof(RingBlock));
    if (!at.ok()) return at.status();
    // Both ends wish for the same, so that it is said before anybody touches it.
    const std::array<int, 2> nodes =
        own_side_ == 0 ? std::array{own_->node, peer_node_} : std::array{peer_node_, own_->node};
    if (!to_self_) place_rings(own_->regions->nodes(), segment_, offset, nodes);
    blocks_[index] = static_cast<RingBlock*>(at.value());
  }
  return blocks_[index];
}

void ShmLink::clear(RingPair* pair) {
  // The pages go back to the system and read as zeros from now on.
  if (madvise(pair, sizeof(RingPair), MADV_REMOVE) != 0) RingLink::clear(pair);
}

void ShmLink::look() {
  if (to_self_) return;
  const int64_t now = now_ns();
  // Relaxed: only keeps the question from being asked too often.
  if (now - looked_ns_.load(std::memory_order_relaxed) < kLookNs) return;
  looked_ns_.store(now, std::memory_order_relaxed);
  bool lost;
  {
    MutexLock lock(mutex_);
    receive();
    gone_ = gone_ || process_has_ended();
    lost = gone_ && !told_;
    told_ = gone_;
  }
  if (lost) peer_left();
}

bool ShmLink::process_has_ended() const {
  pollfd entry{peer_process_.get(), POLLIN, 0};
  return peer_process_.valid() && poll(&entry, 1, 0) > 0;
}

// Everything the peer has said since.
void ShmLink::receive() {
  while (!gone_) {
    ShmRecord record = {};
    RecordFds fds;
    const ShmReceived how = receive_record(socket_.get(), &record, &fds);
    if (how == ShmReceived::kNothing) return;
    gone_ = how == ShmReceived::kEnd;
    if (gone_) return;
    const Status taken = take(record, how, std::move(fds));
    if (!taken.ok()) unmapped_ = taken;
  }
}

// Of a record that cannot be used, and could be later.
Status ShmLink::take(const ShmRecord& record, ShmReceived how, RecordFds fds) {
  Status status;
  if (how == ShmReceived::kCut) {
    status = error(Code::kSystemError, "this process can open no further files (ulimit -n)");
  }
  if (record.kind == ShmRecordKind::kWelcome && expected_.has_value()) {
    if (!same(record.proof, *expected_)) {
      status = error(Code::kRemoteError, "it does not know the secret of the job");
    }
    if (status.ok()) status = meet_locked(record, std::move(fds));
    failure_ = status;
  } else if (record.kind == ShmRecordKind::kRegion && peer_door_ != nullptr && status.ok()) {
    status = map_region(record, std::move(fds[0]));
  }
  return status;
}

Status ShmLink::meet(const ShmRecord& record, RecordFds fds) {
  MutexLock lock(mutex_);
  return meet_locked(record, std::move(fds));
}

Status ShmLink::meet_locked(const ShmRecord& record, RecordFds fds) {
  if (record.offset > SIZE_MAX / 2) return error(Code::kInvalidArgument, "its door is nowhere");
  Result<Segment> file = Segment::adopt_unmapped(std::move(fds[0]), record.offset + sizeof(Door));
  if (!file.ok()) return file.status();
  Result<void*> door = file.value().map(record.offset, sizeof(Door));
  if (!door.ok()) return door.status();
  peer_door_ = static_cast<Door*>(door.value());
  peer_node_ = static_cast<int>(record.node);
  if (record.has_bell != 0) peer_bell_ = std::move(fds[1]);
  return Status();
}

Result<bool> ShmLink::is_settled() {
  if (to_self_) return true;
  MutexLock lock(mutex_);
  if (peer_door_ == nullptr) receive();
  if (peer_door_ != nullptr) return true;
  if (!failure_.ok()) {
    return error(failure_.code(), "shm: peer %d: %s", peer_number(), failure_.text().c_str());
  }
  if (!gone_) return false;
  return error(Code::kRemoteError, "shm: peer %d has gone without a word", peer_number());
}

Status ShmLink::map_region(const ShmRecord& record, UniqueFd fd) {
  const bool possible = record.slot < kMaxRegions && record.generation != 0 && record.bytes != 0 &&
                        record.offset <= SIZE_MAX / 2 && record.bytes <= SIZE_MAX / 2;
  if (!possible) return error(Code::kInvalidArgument, "what it says of its memory makes no sense");
  PeerRegion& region = peer_regions_[record.slot];
  if (region.generation.load(std::memory_order_relaxed) == record.generation) return Status();
  forget_region(record.slot);
  Result<Segment> segment = Segment::adopt_unmapped(std::move(fd), record.offset + record.bytes);
  if (!segment.ok()) return segment.status();
  Result<void*> base = segment.value().map(record.offset, record.bytes);
  if (!base.ok()) return base.status();
  region.base = static_cast<std::byte*>(base.value());
  region.bytes = record.bytes;
  // Pairs with the acquire load in find().
  region.generation.store(record.generation, std::memory_order_release);
  return Status();
}

// The peer uses a number again only when no operation needs the region that had it before; but a
// kernel of one that was aborted, and did not come out in time, may be in it.
void ShmLink::forget_region(uint32_t slot) {
  PeerRegion& region = peer_regions_[slot];
  region.generation.store(0, std::memory_order_release);
  if (region.base != nullptr) retired_.push_back({region.base, region.bytes});
  region.base = nullptr;
  unmap_retired();
}

void ShmLink::unmap_retired() {
  if (is_any_inside(*own_->door)) return;
  for (const iovec& retired : retired_) munmap(retired.iov_base, retired.iov_len);
  retired_.clear();
}

void ShmLink::wake_peer() {
  if (to_self_) return;
  MutexLock lock(mutex_);
  Bell::ring(peer_bell_.get());
}

Door* ShmLink::peer_door() {
  MutexLock lock(mutex_);
  return peer_door_;
}

LentRange ShmLink::describe(const iovec& part) {
  const RegionPlace place = own_->regions->find(part.iov_base, part.iov_len);
  if (place.generation != 0 && announce(place)) {
    return {place.offset, part.iov_len, place.slot + 1, place.generation};
  }
  return {reinterpret_cast<uint64_t>(part.iov_base), part.iov_len, kOwnAddress, 0};
}

void* ShmLink::take_block(size_t bytes, BlockUse use, BlockWait* wait) {
  void* block = own_->pool->take(bytes, use, own_->buffer_cap, wait);
  const bool waits = block == nullptr && wait != nullptr && wait->never.ok();
  if (waits && !own_->full.exchange(true, std::memory_order_relaxed)) {
    own_->log.warn_once("shm-full",
                        "copies of messages on their way take all of TUTTI_BUFFER_CAP (%zu bytes), "
                        "so a message of %zu bytes for peer %d waits; messages from tuttiMemAlloc "
                        "need no copy",
                        own_->buffer_cap, bytes, peer_number());
  }
  return block;
}

// Makes sure that the peer can map the region by the time it hears of it.
bool ShmLink::announce(const RegionPlace& place) {
  std::atomic<uint32_t>& announced = announced_[place.slot];
  if (announced.load(std::memory_order_acquire) == place.generation) return true;
  MutexLock lock(mutex_);
  // Another thread may have been first.
  if (announced.load(std::memory_order_acquire) == place.generation) return true;
  const RegionFile file = own_->regions->file(place.slot, place.generation);
  if (file.segment == nullptr) return false;
  ShmRecord record = {};
  record.kind = ShmRecordKind::kRegion;
  record.slot = place.slot;
  record.generation = place.generation;
  record.bytes = file.bytes;
  record.offset = file.offset;
  const int fd = file.segment->fd();
  // A full socket: the message goes another way this time.
  if (send_record(socket_.get(), record, {&fd, 1}) != 0) return false;
  announced.store(place.generation, std::memory_order_release);
  return true;
}

void* ShmLink::find(const LentRange& lent) const {
  const PeerRegion& region = peer_regions_[lent.region - 1];
  if (region.generation.load(std::memory_order_acquire) != lent.generation) return nullptr;
  if (lent.address > region.bytes || lent.bytes > region.bytes - lent.address) return nullptr;
  return region.base + lent.address;
}

void* ShmLink::resolve(const LentRange& said) {
  const LentRange lent = said;  // it may lie in memory that the peer writes
  if (lent.region == 0 || lent.region > kMaxRegions || lent.generation == 0) return nullptr;
  void* base = find(lent);
  if (base != nullptr) return base;
  MutexLock lock(mutex_);
  receive();
  return find(lent);
}

bool ShmLink::peer_can_read() const {
  return head_->can_read[1 - own_side_].load(std::memory_order_acquire) != 0;
}

int ShmLink::probe(uint64_t address, const ShmNonce& nonce) {
  ShmNonce seen = {};
  const iovec here{seen.data(), seen.size()};
  const iovec there{reinterpret_cast<void*>(address), seen.size()};
  if (peer_pid_ == 0) return ESRCH;
  const ssize_t got = process_vm_readv(peer_pid_, &here, 1, &there, 1, 0);
  if (got < 0) return errno;
  if (got != static_cast<ssize_t>(seen.size()) || seen != nonce) return ESRCH;  // somebody else
  head_->can_read[own_side_].store(1, std::memory_order_release);
  return 0;
}

Status ShmLink::read_piece(const LentRange& part, size_t offset, void* to, size_t bytes) const {
  auto* out = static_cast<std::byte*>(to);
  while (bytes > 0) {
    const iovec here{out, bytes};
    const iovec there{reinterpret_cast<void*>(part.address + offset), bytes};
    const ssize_t got = process_vm_readv(peer_pid_, &here, 1, &there, 1, 0);
    if (got <= 0) {
      return error(Code::kRemoteError, "shm: cannot read %zu bytes of peer %d (process %d): %s",
                   bytes, peer_number(), static_cast<int>(peer_pid_),
                   got == 0 ? "nothing came" : std::strerror(errno));
    }
    out += got;
    offset += static_cast<size_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return Status();
}

Status ShmLink::cannot_map() {
  MutexLock lock(mutex_);
  return error(Code::kRemoteError, "shm: memory of peer %d cannot be mapped here: %s",
               peer_number(), unmapped_.ok() ? "it has not come" : unmapped_.text().c_str());
}

Status ShmLink::read(const LentRange* parts, size_t nparts, size_t offset, void* to, size_t bytes) {
  auto* out = static_cast<std::byte*>(to);
  for (size_t i = 0; i < nparts && bytes > 0; ++i) {
    const LentRange& part = parts[i];
    if (offset >= part.bytes) {
      offset -= part.bytes;
      continue;
    }
    const size_t run = std::min<size_t>(bytes, part.bytes - offset);
    if (part.region == kOwnAddress) {
      TUTTI_TRY(read_piece(part, offset, out, run));
    } else {
      const void* base = resolve(part);
      if (base == nullptr) {
        return cannot_map();
      }
      std::memcpy(out, static_cast<const std::byte*>(base) + offset, run);
    }
    out += run;
    bytes -= run;
    offset = 0;
  }
  // Its number may be another's by now: then what was read is nothing.
  if (is_peer_gone()) return error(Code::kRemoteError, "shm: peer %d is gone", peer_number());
  if (bytes == 0) return Status();
  return error(Code::kRemoteError, "shm: a message of peer %d is %zu bytes shorter than it says",
               peer_number(), bytes);
}

}  // namespace tutti
