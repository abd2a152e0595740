#include "transports/inproc/domain.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "comm/base/check.h"

namespace tutti {
namespace {

// Which side of the pair a channel end takes. The two ends of a channel to oneself are told apart
// by their direction.
int side_of(uint64_t local, uint64_t peer, Direction direction) {
  if (local != peer) return local < peer ? 0 : 1;
  return direction == Direction::kSend ? 0 : 1;
}

uint32_t closed_bit(Direction direction) {
  return direction == Direction::kSend ? kSendClosed : kRecvClosed;
}

// Pairs with the acquire load of the state in every channel call.
void set_bits(RingPair* pair, uint32_t bits) {
  pair->state.bits.fetch_or(bits, std::memory_order_acq_rel);
}

// The bits of the side (of both, for a pair to itself) that `id` has in a pair.
uint32_t bits_of_endpoint(const RingKey& key, uint64_t id, uint32_t bit) {
  uint32_t bits = 0;
  if (key.low == id) bits |= bit_of(bit, 0);
  if (key.high == id) bits |= bit_of(bit, 1);
  return bits;
}

// Offers that were never used must not be used once their memory is the owner's again.
void withdraw_offers(Ring* ring, uint64_t next) {
  for (RingSlot& slot : ring->slots) {
    const uint64_t stamp = slot.offer.stamp.load(std::memory_order_relaxed);  // our own line
    if (stamp > next) slot.offer.stamp.store(stamp | kWithdrawn, std::memory_order_release);
  }
}

}  // namespace

size_t RingKeyHash::operator()(const RingKey& key) const {
  uint64_t hash = 0;
  const uint64_t words[] = {key.low,   key.high,  key.comm,
                            key.order, key.epoch, static_cast<uint64_t>(key.plane)};
  for (uint64_t word : words) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 29;
  }
  return hash;
}

std::shared_ptr<InprocDomain> InprocDomain::create() {
  return std::shared_ptr<InprocDomain>(new InprocDomain);
}

InprocDomain::~InprocDomain() {
  MutexLock lock(mutex_);
  for (void* block : orphans_) std::free(block);
}

uint64_t InprocDomain::add_endpoint() {
  MutexLock lock(mutex_);
  const uint64_t id = next_id_++;
  endpoints_[id];
  return id;
}

void InprocDomain::remove_endpoint(uint64_t id, std::span<void* const> blocks) {
  MutexLock lock(mutex_);
  endpoints_.erase(id);
  orphans_.insert(orphans_.end(), blocks.begin(), blocks.end());
  for (auto& [key, entry] : entries_) set_bits(entry.pair.get(), bits_of_endpoint(key, id, kGone));
  drop_unused(id);
}

bool InprocDomain::has_mail(const RingKey& key, const Entry& entry) const {
  constexpr int kSendWay = static_cast<int>(Direction::kSend);
  if ((entry.pair->state.bits.load(std::memory_order_acquire) & kEnded) != 0) return false;
  for (int side = 0; side < 2; ++side) {
    const uint64_t reader = side == 0 ? key.high : key.low;
    if (entry.done_reading[1 - side] || endpoints_.count(reader) == 0) continue;
    const uint64_t read = entry.pair->ring[side].consumed.count.load(std::memory_order_acquire);
    if (entry.position[side][kSendWay] > read) return true;
  }
  return false;
}

// After something has ended: frees the pairs of `id` that were kept for a reader only.
void InprocDomain::drop_unused(uint64_t id) {
  for (auto it = entries_.begin(); it != entries_.end();) {
    const bool of_id = it->first.low == id || it->first.high == id;
    const bool unused = of_id && !it->second.any_open() && !has_mail(it->first, it->second);
    it = unused ? entries_.erase(it) : std::next(it);
  }
}

bool InprocDomain::has_endpoint(uint64_t id) const {
  MutexLock lock(mutex_);
  return endpoints_.count(id) != 0;
}

bool InprocDomain::has_ended(uint64_t id, const ChannelKey& key) const {
  const auto& ended = endpoints_.at(id).ended;
  const auto found = ended.find(key.comm);
  return found != ended.end() && key.epoch <= found->second;
}

Status InprocDomain::check_open(uint64_t local, uint64_t peer, const ChannelKey& key,
                                bool mail) const {
  if (endpoints_.count(local) == 0) {
    return error(Code::kAborted, "inproc: this endpoint has been destroyed");
  }
  if (endpoints_.count(peer) == 0) {
    if (mail) return Status();
    return error(Code::kRemoteError, "inproc: peer %d is gone", key.peer);
  }
  if (has_ended(local, key)) {
    return error(Code::kAborted, "inproc: communicator %llu epoch %u was aborted here",
                 static_cast<unsigned long long>(key.comm), key.epoch);
  }
  if (has_ended(peer, key)) {
    return error(Code::kRemoteError, "inproc: communicator %llu epoch %u was aborted by peer %d",
                 static_cast<unsigned long long>(key.comm), key.epoch, key.peer);
  }
  return Status();
}

Result<RingEnd> InprocDomain::open(uint64_t local, uint64_t peer, const ChannelKey& key,
                                   Direction direction) {
  const RingKey ring_key{
      std::min(local, peer), std::max(local, peer), key.comm, key.order, key.epoch, key.plane};
  MutexLock lock(mutex_);
  const bool mail = direction == Direction::kRecv && entries_.count(ring_key) != 0;
  Status allowed = check_open(local, peer, key, mail);
  if (!allowed.ok()) return allowed;
  Entry& entry = entries_[ring_key];
  // Only the stamps need zeros; payload memory nobody uses stays untouched.
  if (!entry.pair) entry.pair = std::make_unique_for_overwrite<RingPair>();
  const int side = side_of(local, peer, direction);
  const int way = static_cast<int>(direction);
  if (entry.open[side][way]) {
    return error(Code::kInvalidUsage, "inproc: the %s end of order %llu with peer %d is open",
                 direction == Direction::kSend ? "send" : "receive",
                 static_cast<unsigned long long>(key.order), key.peer);
  }
  entry.open[side][way] = true;
  RingPair* pair = entry.pair.get();
  pair->state.bits.fetch_and(~bit_of(closed_bit(direction), side), std::memory_order_acq_rel);
  const uint64_t consumed = pair->ring[side].consumed.count.load(std::memory_order_acquire);
  return RingEnd{pair, side, entry.position[side][way], consumed, ring_key, direction};
}

void InprocDomain::close(const RingEnd& end, uint64_t position, bool lending) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(end.key);
  TUTTI_CHECK(found != entries_.end(), "a ring end is closed once");
  Entry& entry = found->second;
  const int way = static_cast<int>(end.direction);
  entry.open[end.side][way] = false;
  entry.position[end.side][way] = position;
  if (end.direction == Direction::kRecv) entry.done_reading[end.side] = true;
  if (!entry.any_open() && (lending || !has_mail(end.key, entry))) {
    entries_.erase(found);
    return;
  }
  if (end.direction == Direction::kRecv) withdraw_offers(&end.pair->ring[end.side], position);
  set_bits(end.pair, bit_of(closed_bit(end.direction), end.side) |
                         (lending ? bit_of(kAborted, end.side) : 0));
}

void InprocDomain::abort(uint64_t id, uint64_t comm) {
  MutexLock lock(mutex_);
  const auto found = endpoints_.find(id);
  if (found == endpoints_.end()) return;
  uint32_t& ended = found->second.ended[comm];
  for (auto& [key, entry] : entries_) {
    const uint32_t bits = bits_of_endpoint(key, id, kAborted);
    if (key.comm != comm || bits == 0) continue;
    ended = std::max(ended, key.epoch);
    set_bits(entry.pair.get(), bits);
  }
  drop_unused(id);
}

size_t InprocDomain::ring_pairs() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace tutti
