#include "transports/ring/link.h"

#include <algorithm>
#include <cstring>

#include "comm/base/check.h"

namespace tutti {
namespace {

constexpr int kSendWay = static_cast<int>(Direction::kSend);

uint32_t closed_bit(Direction direction) {
  return direction == Direction::kSend ? kSendClosed : kRecvClosed;
}

// Pairs with the acquire load of the state in every channel call.
void set_bits(RingPair* pair, uint32_t bits) {
  pair->state.bits.fetch_or(bits, std::memory_order_acq_rel);
}

// Offers that were never used must not be used once their memory is the owner's again.
void withdraw_offers(const Ring& ring, uint64_t next) {
  for (uint32_t i = 0; i < kRingSlots; ++i) {
    std::atomic<uint64_t>& offered = ring.slot(i).offer.stamp;
    const uint64_t stamp = offered.load(std::memory_order_relaxed);  // our own line
    if (stamp > next) offered.store(stamp | kWithdrawn, std::memory_order_release);
  }
}

}  // namespace

Status RingLink::stuck() const {
  return error(Code::kRemoteError, "%s: peer %d has held the lock of its link for %lld s",
               transport_, peer_, static_cast<long long>(SharedMutex::kPatienceNs / 1'000'000'000));
}

// Every pair in use. The function answers whether to go on.
template <typename Function>
void RingLink::for_each(Function function) {
  const uint32_t blocks = head().blocks;
  for (uint32_t b = 0; b < blocks; ++b) {
    Result<RingBlock*> mapped = block(b);
    if (!mapped.ok()) continue;
    for (uint32_t i = 0; i < kBlockPairs; ++i) {
      const Place place{&mapped.value()->entries[i], &mapped.value()->pairs[i]};
      if (place.entry->used && !function(place)) return;
    }
  }
}

Result<RingLink::Place> RingLink::find(const ChannelKey& key) {
  Place found{nullptr, nullptr};
  for_each([&](const Place& place) {
    const RingEntry& e = *place.entry;
    if (e.comm == key.comm && e.epoch == key.epoch && e.order == key.order &&
        e.plane == key.plane) {
      found = place;
    }
    return found.entry == nullptr;
  });
  return found;
}

// Zero-filled memory is an empty pair, so only the key is to be written.
Result<RingLink::Place> RingLink::make(const ChannelKey& key) {
  for (uint32_t b = 0;; ++b) {
    Result<RingBlock*> mapped = block(b);
    if (!mapped.ok()) return mapped.status();
    if (b == head().blocks) head().blocks = b + 1;
    for (uint32_t i = 0; i < kBlockPairs; ++i) {
      RingEntry& e = mapped.value()->entries[i];
      if (e.used) continue;
      e.comm = key.comm;
      e.order = key.order;
      e.epoch = key.epoch;
      e.plane = key.plane;
      e.used = true;
      return Place{&e, &mapped.value()->pairs[i]};
    }
  }
}

bool RingLink::has_ended(int side, const ChannelKey& key) {
  const LinkHead& h = head();
  const uint64_t kept = std::min<uint64_t>(h.num_ended[side], kEndedKept);
  for (uint64_t i = 0; i < kept; ++i) {
    const LinkHead::Ended& ended = h.ended[side][i];
    if (ended.comm == key.comm && key.epoch <= ended.epoch) return true;
  }
  return false;
}

Status RingLink::may_open(const ChannelKey& key, int side, bool mail) {
  if (head().left[side].load(std::memory_order_acquire) != 0) {
    return error(Code::kAborted, "%s: this endpoint has been destroyed", transport_);
  }
  if (head().left[1 - side].load(std::memory_order_acquire) != 0) {
    if (mail) return Status();
    return error(Code::kRemoteError, "%s: peer %d is gone", transport_, peer_);
  }
  const auto comm = static_cast<unsigned long long>(key.comm);
  if (has_ended(side, key)) {
    return error(Code::kAborted, "%s: communicator %llu epoch %u was aborted here", transport_,
                 comm, key.epoch);
  }
  if (has_ended(1 - side, key)) {
    return error(Code::kRemoteError, "%s: communicator %llu epoch %u was aborted by peer %d",
                 transport_, comm, key.epoch, peer_);
  }
  return Status();
}

Result<RingEnd> RingLink::open(const ChannelKey& key, Direction direction) {
  const int way = static_cast<int>(direction);
  const int side = side_ >= 0 ? side_ : way;
  const SharedLock lock(head().mutex, stuck_);
  if (!lock.held()) return stuck();
  Result<Place> place = find(key);
  if (!place.ok()) return place.status();
  const bool known = place.value().entry != nullptr;
  TUTTI_TRY(may_open(key, side, known && direction == Direction::kRecv));
  if (!known) place = make(key);
  if (!place.ok()) return place.status();
  RingEntry* entry = place.value().entry;
  RingPair* pair = place.value().pair;
  if (entry->open[side][way]) {
    return error(Code::kInvalidUsage, "%s: the %s end of order %llu with peer %d is open",
                 transport_, direction == Direction::kSend ? "send" : "receive",
                 static_cast<unsigned long long>(key.order), key.peer);
  }
  entry->open[side][way] = true;
  pair->state.bits.fetch_and(~bit_of(closed_bit(direction), side), std::memory_order_acq_rel);
  const uint64_t consumed = pair->consumed[side].count.load(std::memory_order_acquire);
  return RingEnd{pair, entry, side, entry->position[side][way], consumed, key, direction};
}

// Whether a side that nobody has open has messages for the other that it may still come to read.
bool RingLink::has_mail(const Place& place) {
  const RingEntry& entry = *place.entry;
  if ((place.pair->state.bits.load(std::memory_order_acquire) & kEnded) != 0) return false;
  for (int side = 0; side < 2; ++side) {
    const int reader = 1 - side;
    if (entry.done_reading[reader] || head().left[reader].load(std::memory_order_acquire) != 0) {
      continue;
    }
    const uint64_t read = place.pair->consumed[side].count.load(std::memory_order_acquire);
    if (entry.position[side][kSendWay] > read) return true;
  }
  return false;
}

void RingLink::clear(RingPair* pair) {
  const auto clear_part = [](auto& part) {
    std::memset(static_cast<void*>(&part), 0, sizeof part);
  };
  clear_part(pair->slots0);
  clear_part(pair->slots1);
  clear_part(pair->consumed);
  clear_part(pair->heard);
  pair->state.bits.store(0, std::memory_order_release);
}

void RingLink::drop(const Place& place) {
  clear(place.pair);
  std::memset(static_cast<void*>(place.entry), 0, sizeof(RingEntry));
}

// After something has ended: frees the pairs that were kept for a reader only.
void RingLink::drop_unused() {
  for_each([&](const Place& place) {
    if (!place.entry->any_open() && !has_mail(place)) drop(place);
    return true;
  });
}

void RingLink::close(const RingEnd& end, uint64_t position, bool lending) {
  const SharedLock lock(head().mutex, stuck_);
  const uint32_t bits =
      bit_of(closed_bit(end.direction), end.side) | (lending ? bit_of(kAborted, end.side) : 0);
  if (!lock.held()) return set_bits(end.pair, bits);  // the peer is stopped, in the worst place
  RingEntry& entry = *end.entry;
  const int way = static_cast<int>(end.direction);
  TUTTI_CHECK(entry.used && entry.open[end.side][way], "a ring end is closed once");
  entry.position[end.side][way] = position;
  if (end.direction == Direction::kRecv) entry.done_reading[end.side] = true;
  entry.open[end.side][way] = false;
  const Place place{end.entry, end.pair};
  if (!entry.any_open() && (lending || !has_mail(place))) return drop(place);
  if (end.direction == Direction::kRecv) withdraw_offers(Ring(end.pair, end.side), position);
  set_bits(end.pair, bits);
  wake_peer();
}

uint32_t RingLink::highest_epoch(uint64_t comm) {
  uint32_t highest = 0;
  const SharedLock lock(head().mutex, stuck_);
  for_each([&](const Place& place) {
    if (place.entry->comm == comm) highest = std::max(highest, place.entry->epoch);
    return true;
  });
  return highest;
}

void RingLink::abort(uint64_t comm, uint32_t epoch) {
  // Without the lock, when a stopped peer has it: bits of pairs are safe to set at any time.
  const SharedLock lock(head().mutex, stuck_);
  LinkHead& h = head();
  const uint32_t sides = side_ < 0 ? 3 : 1u << side_;
  for (int side = 0; side < 2; ++side) {
    const ChannelKey whole{comm, epoch, Plane::kCollective, peer_, 0};
    if ((sides & 1u << side) == 0 || !lock.held() || has_ended(side, whole)) continue;
    h.ended[side][h.num_ended[side] % kEndedKept] = {comm, epoch};
    ++h.num_ended[side];
  }
  for_each([&](const Place& place) {
    if (place.entry->comm != comm || place.entry->epoch > epoch) return true;
    set_bits(place.pair, kAborted * sides);
    return true;
  });
  if (lock.held()) drop_unused();
  wake_peer();
}

void RingLink::left(int side) {
  const SharedLock lock(head().mutex, stuck_);
  const uint32_t sides = side_ < 0 ? 3 : 1u << side;
  for (int s = 0; s < 2; ++s) {
    if ((sides & 1u << s) != 0) head().left[s].store(1, std::memory_order_release);
  }
  for_each([&](const Place& place) {
    set_bits(place.pair, kGone * sides);
    // Its channels went with its process; those of an endpoint that leaves close themselves.
    if (side_ >= 0 && side != side_) std::fill_n(place.entry->open[side], 2, false);
    return true;
  });
  if (lock.held()) drop_unused();
  if (side == side_) wake_peer();
}

void RingLink::add_sleepers(int more) {
  const auto change = static_cast<uint32_t>(more);  // modulo 2^32
  if (side_ >= 0) head().sleepers[side_].fetch_add(change, std::memory_order_acq_rel);
}

// Of the link of a rank with itself nobody sleeps.
const std::atomic<uint32_t>& RingLink::peer_sleepers() {
  return head().sleepers[side_ < 0 ? 0 : 1 - side_];
}

bool RingLink::is_peer_gone() {
  look();
  return side_ >= 0 && head().left[1 - side_].load(std::memory_order_acquire) != 0;
}

std::string RingLink::take_back_offers(uint64_t comm) {
  std::string kept;
  if (memory() == nullptr) return kept;
  const SharedLock lock(head().mutex, stuck_);
  for_each([&](const Place& place) {
    if (place.entry->comm != comm) return true;
    const uint64_t next = place.pair->consumed[1 - side_].count.load(std::memory_order_acquire);
    const Ring ring(place.pair, side_);
    for (uint32_t i = 0; i < kRingSlots; ++i) {
      OfferLine& offer = ring.slot(i).offer;
      const uint64_t stamp = offer.stamp.load(std::memory_order_relaxed);  // our own line
      if (stamp <= next || (stamp & kWithdrawn) != 0) continue;
      const Status detached = memory()->detach(offer.base, offer.place.bytes);
      // Once only: from now on the caller uses that memory.
      offer.stamp.store(stamp | kWithdrawn, std::memory_order_release);
      if (!detached.ok()) kept += still_written(offer, detached);
    }
    return true;
  });
  return kept;
}

std::string RingLink::still_written(const OfferLine& offer, const Status& why) const {
  return error(Code::kSystemError,
               "peer %d, which does not run, may still write %llu bytes at %p (%s); ", peer_,
               static_cast<unsigned long long>(offer.place.bytes), offer.base, why.text().c_str())
      .text();
}

uint32_t RingLink::pairs_in_use() {
  uint32_t pairs = 0;
  const SharedLock lock(head().mutex, stuck_);
  for_each([&](const Place&) { return ++pairs != 0; });
  return pairs;
}

Status RingLink::health(const RingEnd& end) {
  look();
  const uint32_t state = end.pair->state.bits.load(std::memory_order_acquire);
  const int other = 1 - end.side;
  const uint32_t closed =
      bit_of(end.direction == Direction::kSend ? kRecvClosed : kSendClosed, other);
  const uint32_t mine = bit_of(kAborted | kGone, end.side);
  const uint32_t theirs = bit_of(kAborted | kGone, other) | closed;
  if ((state & (mine | theirs)) == 0) return Status();
  const auto comm = static_cast<unsigned long long>(end.key.comm);
  if (state & mine) {
    return error(Code::kAborted, "%s: communicator %llu epoch %u was aborted here", transport_,
                 comm, end.key.epoch);
  }
  const char* what = state & bit_of(kGone, other)      ? "is gone"
                     : state & bit_of(kAborted, other) ? "has aborted"
                                                       : "has closed its end of the channel";
  return error(Code::kRemoteError, "%s: peer %d %s (communicator %llu epoch %u order %llu)",
               transport_, peer_, what, comm, end.key.epoch,
               static_cast<unsigned long long>(end.key.order));
}

}  // namespace tutti
