#include <cstring>

#include "comm/base/check.h"
#include "transports/inproc/channel.h"
#include "transports/inproc/health.h"

namespace tutti {
namespace {

// Copies at most kLineBytes without a call: two overlapping moves of the largest width that fits.
inline void copy_line(std::byte* to, const void* from, size_t bytes) {
  const auto move_ends = [&](auto word) {
    decltype(word) first, last;
    std::memcpy(&first, from, sizeof(word));
    std::memcpy(&last, static_cast<const std::byte*>(from) + bytes - sizeof(word), sizeof(word));
    std::memcpy(to, &first, sizeof(word));
    std::memcpy(to + bytes - sizeof(word), &last, sizeof(word));
  };
  struct Half {
    uint64_t words[2];
  };
  if (bytes >= 16) return move_ends(Half{});
  if (bytes >= 8) return move_ends(uint64_t{});
  if (bytes >= 4) return move_ends(uint32_t{});
  for (size_t i = 0; i < bytes; ++i) to[i] = static_cast<const std::byte*>(from)[i];
}

}  // namespace

InprocSendChannel::InprocSendChannel(std::shared_ptr<InprocDomain> domain, const RingEnd& end,
                                     int peer, uint32_t slots)
    : ring_(&end.pair->ring[end.side]),
      peer_ring_(&end.pair->ring[1 - end.side]),
      state_(&end.pair->state.bits),
      next_(end.position),
      base_(end.position),
      consumed_(end.consumed),
      sent_(end.position),
      slots_(slots),
      peer_(peer),
      end_(end),
      domain_(std::move(domain)) {}

InprocSendChannel::~InprocSendChannel() { domain_->close(end_, next_, released() != next_); }

// Whether one more message may be outstanding. The reader's counter, a line flight away, is looked
// at only when the last value read says no.
inline bool InprocSendChannel::has_room() {
  if (next_ - consumed_ < slots_) return true;
  consumed_ = ring_->consumed.count.load(std::memory_order_acquire);
  return next_ - consumed_ < slots_;
}

// Writes what message next_ carries into its slot. False when it lends the caller's memory.
bool InprocSendChannel::fill(RingSlot* slot, const iovec* parts, int nparts, uint64_t* tag) {
  size_t bytes = 0;
  for (int i = 0; i < nparts; ++i) bytes += parts[i].iov_len;
  MessageLine& line = slot->message;
  if (bytes > kInlineBytes) {
    if (nparts == 1) {
      line.one = parts[0];
      *tag = bytes << 8 | static_cast<uint64_t>(MessageKind::kOnePart);
    } else {
      line.lent = {parts, static_cast<uint64_t>(nparts)};
      *tag = bytes << 8 | static_cast<uint64_t>(MessageKind::kParts);
    }
    return false;
  }
  const bool fits = bytes <= kLineBytes;
  std::byte* out = fits ? line.payload : ring_->spill[next_ % kRingSlots];
  for (int i = 0; i < nparts; ++i) {
    if (parts[i].iov_len == 0) continue;
    std::memcpy(out, parts[i].iov_base, parts[i].iov_len);
    out += parts[i].iov_len;
  }
  *tag = bytes << 8 | static_cast<uint64_t>(fits ? MessageKind::kLine : MessageKind::kSpill);
  return true;
}

inline void InprocSendChannel::publish(RingSlot* slot, const OpHeader* header, uint64_t tag) {
  if (header != nullptr) {
    // Field by field: the caller has just written them, and one wide load of what several narrow
    // stores have not yet brought to the cache waits for all of them (10 ns here).
    slot->message.header.comm_epoch = header->comm_epoch;
    slot->message.header.sequence = header->sequence;
    slot->message.header.fingerprint = header->fingerprint;
    tag |= kHasHeader;
  }
  slot->message.tag = tag;
  // Pairs with the acquire load in InprocRecvChannel::arrived.
  slot->message.stamp.store(next_ + 1, std::memory_order_release);
  ++next_;
}

bool InprocSendChannel::post_send(const OpHeader* header, const iovec* parts, int nparts) {
  if (!has_room() || ended()) return false;
  if (nparts != 1 || parts[0].iov_len > kLineBytes) return post_large(header, parts, nparts);
  // The shortest way for the shortest messages; post_large would do the same.
  RingSlot* slot = &ring_->slots[next_ % kRingSlots];
  copy_line(slot->message.payload, parts[0].iov_base, parts[0].iov_len);
  lent_ &= ~(uint64_t{1} << (next_ % kRingSlots));
  publish(slot, header, parts[0].iov_len << 8 | static_cast<uint64_t>(MessageKind::kLine));
  return true;
}

bool InprocSendChannel::post_large(const OpHeader* header, const iovec* parts, int nparts) {
  RingSlot* slot = &ring_->slots[next_ % kRingSlots];
  const uint64_t bit = uint64_t{1} << (next_ % kRingSlots);
  uint64_t tag;
  const bool copied = fill(slot, parts, nparts, &tag);
  lent_ = copied ? lent_ & ~bit : lent_ | bit;
  publish(slot, header, tag);
  return true;
}

void* InprocSendChannel::place(size_t bytes, uint64_t fingerprint) {
  const OfferLine& offer = peer_ring_->slots[next_ % kRingSlots].offer;
  // Pairs with the release store in InprocRecvChannel::offer.
  if (offer.stamp.load(std::memory_order_acquire) != next_ + 1) return nullptr;
  const uint32_t closed = bit_of(kRecvClosed | kGone, 1 - end_.side);
  if (state_->load(std::memory_order_acquire) & (kEnded | closed)) return nullptr;
  if (offer.bytes != bytes || offer.fingerprint != fingerprint) return nullptr;
  placed_ = next_;
  return offer.base;
}

bool InprocSendChannel::post_placed(const OpHeader* header, size_t bytes) {
  TUTTI_CHECK(placed_ == next_, "post_placed without an address from place()");
  if (!has_room() || ended()) return false;
  lent_ &= ~(uint64_t{1} << (next_ % kRingSlots));
  RingSlot* slot = &ring_->slots[next_ % kRingSlots];
  slot->message.consumed = peer_ring_->consumed.count.load(std::memory_order_acquire);
  publish(slot, header, bytes << 8 | static_cast<uint64_t>(MessageKind::kPlaced));
  return true;
}

// The oldest message from `consumed` on that lends memory, next_ when there is none.
inline uint64_t InprocSendChannel::oldest_lent(uint64_t consumed) const {
  // Bits of [consumed, next_), oldest lowest: a slot's bit is stale once its message is consumed.
  const uint64_t outstanding = next_ - consumed;
  const uint32_t turn = consumed % kRingSlots;
  uint64_t lent = turn == 0 ? lent_ : lent_ >> turn | lent_ << (kRingSlots - turn);
  if (outstanding < kRingSlots) lent &= (uint64_t{1} << outstanding) - 1;
  return lent == 0 ? next_ : consumed + static_cast<uint64_t>(__builtin_ctzll(lent));
}

// The oldest message that still lends memory, next_ when there is none. The reader's counter is a
// line flight away; what its last placed message said is here.
uint64_t InprocSendChannel::released() const {
  if (lent_ == 0) return next_;
  // Pairs with the release store in InprocRecvChannel::describe.
  if (oldest_lent(ring_->heard.count.load(std::memory_order_acquire)) == next_) return next_;
  // Pairs with the release store in InprocRecvChannel::give_back.
  return oldest_lent(ring_->consumed.count.load(std::memory_order_acquire));
}

uint64_t InprocSendChannel::consumed() {
  if (!ended()) consumed_ = ring_->consumed.count.load(std::memory_order_acquire);
  return consumed_ > base_ ? consumed_ - base_ : 0;
}

uint64_t InprocSendChannel::sent() {
  if (!ended()) {
    sent_ = released();
    if (sent_ == next_) lent_ = 0;  // the common case asks again without a look at the ring
  }
  return sent_ - base_;
}

Status InprocSendChannel::health() const {
  return ring_health(state_->load(std::memory_order_acquire), end_, peer_);
}

}  // namespace tutti
