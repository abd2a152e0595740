#include "transports/shm/link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <utility>

#include "comm/base/clock.h"
#include "transports/ring/bell.h"

namespace tutti {
namespace {

constexpr size_t kHeadBytes = kPageBytes;
static_assert(sizeof(LinkHead) <= kHeadBytes);
static_assert(sizeof(RingBlock) % kPageBytes == 0);
constexpr uint32_t kMostBlocks = 512;  // 8192 orders at once

// How often to ask the socket whether the peer is there.
constexpr int64_t kLookNs = 1'000'000;

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
  {
    MutexLock lock(link->mutex_);
    link->proved_ = connection.proved;
    link->expected_ = connection.expected;
  }
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
    Result<void*> at = segment_.map(kHeadBytes + index * sizeof(RingBlock), sizeof(RingBlock));
    if (!at.ok()) return at.status();
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
    const bool known = gone_;
    receive();
    lost = gone_ && !known;
  }
  if (lost) peer_left();
}

// Everything the peer has said since.
void ShmLink::receive() {
  while (!gone_) {
    ShmRecord record = {};
    UniqueFd fd;
    const ShmReceived received = receive_record(socket_.get(), &record, &fd);
    if (received == ShmReceived::kNothing) return;
    gone_ = received == ShmReceived::kEnd;
    if (gone_) return;
    switch (record.kind) {
      case ShmRecordKind::kWelcome:
        proved_ = same(record.proof, expected_);
        gone_ = !proved_;
        break;
      case ShmRecordKind::kRegion:
        if (proved_) map_region(record, std::move(fd));
        break;
      case ShmRecordKind::kDoor:
        if (proved_) find_door(record, std::move(fd));
        break;
      case ShmRecordKind::kHello:
        break;
    }
  }
}

void ShmLink::map_region(const ShmRecord& record, UniqueFd fd) {
  if (record.slot >= kMaxRegions || record.generation == 0 || record.bytes == 0) return;
  forget_region(record.slot);
  if (record.bytes > SIZE_MAX - record.offset) return;
  Result<Segment> segment = Segment::adopt_unmapped(std::move(fd), record.offset + record.bytes);
  if (!segment.ok()) return;
  Result<void*> base = segment.value().map(record.offset, record.bytes);
  if (!base.ok()) return;
  PeerRegion& region = peer_regions_[record.slot];
  region.base = static_cast<std::byte*>(base.value());
  region.bytes = record.bytes;
  // Pairs with the acquire load in find().
  region.generation.store(record.generation, std::memory_order_release);
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

void ShmLink::show_door() {
  const LentRange place = describe({own_->door, sizeof(Door)});
  ShmRecord record = {};
  record.kind = ShmRecordKind::kDoor;
  record.slot = place.region - 1;
  record.generation = place.generation;
  if (place.region != kOwnAddress) (void)send_record(socket_.get(), record, own_->bell->get());
}

void ShmLink::find_door(const ShmRecord& record, UniqueFd bell) {
  if (record.slot >= kMaxRegions || peer_door_ != nullptr) return;
  const LentRange place = {0, sizeof(Door), record.slot + 1, record.generation};
  peer_door_ = static_cast<Door*>(find(place));
  peer_bell_ = std::move(bell);
}

// Before the peer's bell has come, it wakes by itself soon enough.
void ShmLink::wake_peer() {
  if (to_self_) return;
  MutexLock lock(mutex_);
  if (peer_door_ == nullptr) receive();
  Bell::ring(peer_bell_.get());
}

Door* ShmLink::peer_door() {
  if (to_self_) return nullptr;
  MutexLock lock(mutex_);
  if (peer_door_ == nullptr) receive();
  return peer_door_;
}

LentRange ShmLink::describe(const iovec& part) {
  const RegionPlace place = own_->regions->find(part.iov_base, part.iov_len);
  if (place.generation != 0 && announce(place)) {
    return {place.offset, part.iov_len, place.slot + 1, place.generation};
  }
  return {reinterpret_cast<uint64_t>(part.iov_base), part.iov_len, kOwnAddress, 0};
}

// Makes sure that the peer can map the region by the time it hears of it.
bool ShmLink::announce(const RegionPlace& place) {
  std::atomic<uint32_t>& announced = announced_[place.slot];
  if (announced.load(std::memory_order_acquire) == place.generation) return true;
  MutexLock lock(mutex_);
  ShmRecord record = {};
  record.kind = ShmRecordKind::kRegion;
  record.slot = place.slot;
  record.generation = place.generation;
  const RegionFile file = own_->regions->file(place.slot, place.generation);
  record.bytes = file.bytes;
  record.offset = file.offset;
  // A full socket: the message goes another way this time.
  if (file.fd < 0 || !send_record(socket_.get(), record, file.fd)) return false;
  announced.store(place.generation, std::memory_order_release);
  return true;
}

void* ShmLink::find(const LentRange& lent) const {
  const PeerRegion& region = peer_regions_[lent.region - 1];
  if (region.generation.load(std::memory_order_acquire) != lent.generation) return nullptr;
  if (lent.address > region.bytes || lent.bytes > region.bytes - lent.address) return nullptr;
  return region.base + lent.address;
}

void* ShmLink::resolve(const LentRange& lent) {
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

void ShmLink::probe(uint64_t address, const ShmNonce& nonce) {
  ShmNonce seen = {};
  const LentRange lent = {address, seen.size(), kOwnAddress, 0};
  const bool allowed = peer_pid_ != 0 && read_piece(lent, 0, seen.data(), seen.size()).ok();
  if (allowed && seen == nonce) head_->can_read[own_side_].store(1, std::memory_order_release);
}

Status ShmLink::read_piece(const LentRange& part, size_t offset, void* to, size_t bytes) const {
  auto* out = static_cast<std::byte*>(to);
  while (bytes > 0) {
    const iovec here{out, bytes};
    const iovec there{reinterpret_cast<void*>(part.address + offset), bytes};
    const ssize_t got = process_vm_readv(peer_pid_, &here, 1, &there, 1, 0);
    if (got <= 0) {
      return error(Code::kRemoteError, "shm: cannot read %zu bytes of process %d: %s", bytes,
                   static_cast<int>(peer_pid_), got == 0 ? "nothing came" : std::strerror(errno));
    }
    out += got;
    offset += static_cast<size_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return Status();
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
        return error(Code::kRemoteError, "shm: a region of process %d has not come",
                     static_cast<int>(peer_pid_));
      }
      std::memcpy(out, static_cast<const std::byte*>(base) + offset, run);
    }
    out += run;
    bytes -= run;
    offset = 0;
  }
  if (bytes == 0) return Status();
  return error(Code::kRemoteError, "shm: a message is %zu bytes shorter than it says", bytes);
}

}  // namespace tutti
