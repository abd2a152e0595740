#include <algorithm>
#include <cstring>

#include "comm/base/check.h"
#include "comm/base/membarrier.h"
#include "transports/ring/channel.h"

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

// Fetches a line to write while nobody waits for what will be written (8 B all-reduce: 0.18 to 0.16
// us). The compiler's own prefetch is for reading, unless it may assume newer processors; older
// ones take this instruction for a no-op.
inline void prefetch_to_write(const MessageLine& line) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(line));
#else
  __builtin_prefetch(&line, 1);
#endif
}

// From 1 MiB on, memcpy of common C libraries goes another way, which is no faster here and at
// times far slower over memory that the peer has just read: all_reduce of 4 MiB took 213 us in one
// copy and 209 in slices, and 664 and 257 an hour later on the same machine.
constexpr size_t kSliceBytes = size_t{256} << 10;

void copy_parts(std::byte* to, const iovec* parts, int nparts) {
  for (int i = 0; i < nparts; ++i) {
    const auto* from = static_cast<const std::byte*>(parts[i].iov_base);
    for (size_t left = parts[i].iov_len; left > 0;) {
      const size_t run = std::min(left, kSliceBytes);
      std::memcpy(to, from, run);
      to += run;
      from += run;
      left -= run;
    }
  }
}

}  // namespace

Result<std::unique_ptr<SendChannel>> RingSendChannel::open(std::shared_ptr<RingLink> link,
                                                           const ChannelKey& key,
                                                           const RingLimits& limits) {
  Result<RingEnd> end = link->open(key, Direction::kSend);
  if (!end.ok()) return end.status();
  std::unique_ptr<SendChannel> channel =
      std::make_unique<RingSendChannel>(std::move(link), end.value(), limits);
  return channel;
}

RingSendChannel::RingSendChannel(std::shared_ptr<RingLink> link, const RingEnd& end,
                                 const RingLimits& limits)
    : ring_(end.pair, end.side),
      peer_ring_(end.pair, 1 - end.side),
      state_(&end.pair->state.bits),
      sleepers_(&link->peer_sleepers()),
      next_(end.position),
      base_(end.position),
      consumed_(end.consumed),
      sent_(end.position),
      limits_(limits),
      spilled_bytes_(limits.copied_bytes),
      memory_(link->memory()),
      end_(end),
      link_(std::move(link)),
      staging_(memory_) {}

RingSendChannel::~RingSendChannel() {
  link_->close(end_, next_, released() != next_);
  give_back_blocks(next_);
  staging_.drop();
}

void RingSendChannel::lend_all(bool on) {
  line_bytes_ = on ? 0 : kLineBytes;
  spilled_bytes_ = on ? 0 : limits_.copied_bytes;
}

// Whether one more message may be outstanding. The reader's counter, a line flight away, is looked
// at only when the last value read says no.
inline bool RingSendChannel::has_room() {
  if (next_ - consumed_ < limits_.slots) return true;
  refresh_consumed();
  return next_ - consumed_ < limits_.slots;
}

inline void RingSendChannel::refresh_consumed() {
  // Pairs with the release store in RingRecvChannel::give_back.
  consumed_ = ring_.consumed().load(std::memory_order_acquire);
}

// Writes what message next_ carries into its slot, or where that is.
RingSendChannel::Filled RingSendChannel::fill(RingSlot* slot, const iovec* parts, int nparts,
                                              uint64_t* tag) {
  size_t bytes = 0;
  for (int i = 0; i < nparts; ++i) bytes += parts[i].iov_len;
  if (bytes <= line_bytes_) {
    copy_parts(slot->message.payload, parts, nparts);
    copied_bytes_ += bytes;
    *tag = bytes << 8 | static_cast<uint64_t>(MessageKind::kLine);
    return Filled::kCopied;
  }
  if (bytes <= spilled_bytes_ && spill(slot, parts, nparts, bytes, tag)) {
    return Filled::kCopied;
  }
  return lend(slot, parts, nparts, bytes, tag);
}

// False when there is no room.
bool RingSendChannel::spill(RingSlot* slot, const iovec* parts, int nparts, size_t bytes,
                            uint64_t* tag) {
  const uint64_t offset = room_in_spill(bytes);
  if (offset == CircularRoom::kNone) return false;
  copy_parts(ring_.spill(offset, bytes), parts, nparts);
  copied_bytes_ += bytes;
  slot->message.spilled = offset;
  *tag = bytes << 8 | static_cast<uint64_t>(MessageKind::kSpill);
  return true;
}

uint64_t RingSendChannel::room_in_spill(size_t bytes) {
  // Messages of this side from before the channel was opened may not be consumed yet.
  if (!spill_room_) {
    spill_room_ =
        std::make_unique<CircularRoom>(kSpillBytes, RingPair::spill_start(end_.side), base_);
  }
  const uint64_t offset = spill_room_->take(next_, consumed_, bytes);
  if (offset != CircularRoom::kNone) return offset;
  refresh_consumed();
  return spill_room_->take(next_, consumed_, bytes);
}

RingSendChannel::Filled RingSendChannel::lend(RingSlot* slot, const iovec* parts, int nparts,
                                              size_t bytes, uint64_t* tag) {
  if (memory_ != nullptr) return lend_across(slot, parts, nparts, bytes, tag);
  if (nparts > 1) {
    slot->message.lent = {parts, static_cast<uint64_t>(nparts)};
    *tag = bytes << 8 | static_cast<uint64_t>(MessageKind::kParts);
    return Filled::kLent;
  }
  return lend_one(slot, {reinterpret_cast<uint64_t>(parts[0].iov_base), bytes, kSameSpace, 0}, tag);
}

RingSendChannel::Filled RingSendChannel::lend_one(RingSlot* slot, const LentRange& where,
                                                  uint64_t* tag) {
  slot->message.one = where;
  *tag = where.bytes << 8 | static_cast<uint64_t>(MessageKind::kOnePart);
  return Filled::kLent;
}

// To another address space: what the peer can map as it is, else a copy as long as that pays, else
// through the kernel where it lets the peer read our memory.
RingSendChannel::Filled RingSendChannel::lend_across(RingSlot* slot, const iovec* parts, int nparts,
                                                     size_t bytes, uint64_t* tag) {
  LentRange first = {};
  if (nparts == 1) {
    first = memory_->describe(parts[0]);
    if (first.region != kOwnAddress) return lend_one(slot, first, tag);
  } else if (line_bytes_ == 0 && all_mapped(parts, nparts)) {
    return lend_list(slot, parts, nparts, bytes, tag);
  }
  if (bytes <= kSpilledBytes && spill(slot, parts, nparts, bytes, tag)) return Filled::kCopied;
  if (nparts == 1 || bytes <= kStagedBytes || !all_mapped(parts, nparts)) {
    const bool must = !memory_->peer_can_read();
    void* room = room_for_copy(bytes, must);
    if (room != nullptr || must) return lend_copy(slot, room, parts, nparts, bytes, tag);
  }
  return nparts == 1 ? lend_one(slot, first, tag) : lend_list(slot, parts, nparts, bytes, tag);
}

bool RingSendChannel::all_mapped(const iovec* parts, int nparts) const {
  return std::all_of(parts, parts + nparts, [this](const iovec& part) {
    return memory_->describe(part).region != kOwnAddress;
  });
}

// Null where a copy does not pay, or there is no room for one; with `must` only the latter.
void* RingSendChannel::room_for_copy(size_t bytes, bool must) {
  if (bytes <= kStagedBytes) {
    std::byte* room = staging_.take(next_, consumed_, bytes);
    if (room == nullptr) {
      refresh_consumed();
      room = staging_.take(next_, consumed_, bytes);
    }
    if (room != nullptr) return room;
  }
  return must || bytes <= kCopiedBytes ? take_block(bytes, must) : nullptr;
}

// Several parts for another address space: a list of where they are, in the spill or in a block.
RingSendChannel::Filled RingSendChannel::lend_list(RingSlot* slot, const iovec* parts, int nparts,
                                                   size_t bytes, uint64_t* tag) {
  const size_t list_bytes = static_cast<size_t>(nparts) * sizeof(LentRange);
  const uint64_t offset =
      list_bytes <= kSpilledBytes ? room_in_spill(list_bytes) : CircularRoom::kNone;
  LentRange where = {offset, list_bytes, kInSpill, 0};
  std::byte* at = ring_.spill(offset, list_bytes);
  if (at == nullptr) {
    at = static_cast<std::byte*>(room_for_copy(list_bytes, true));
    if (at == nullptr) return Filled::kNoMemory;
    where = memory_->describe({at, list_bytes});
  }
  for (int i = 0; i < nparts; ++i) {
    const LentRange lent = memory_->describe(parts[i]);
    std::memcpy(at + static_cast<size_t>(i) * sizeof(LentRange), &lent, sizeof(lent));
  }
  slot->message.list = {where, static_cast<uint64_t>(nparts)};
  *tag = bytes << 8 | static_cast<uint64_t>(MessageKind::kPartList);
  return Filled::kLent;
}

// A copy at `room`, which the peer can map, lent like the original.
RingSendChannel::Filled RingSendChannel::lend_copy(RingSlot* slot, void* room, const iovec* parts,
                                                   int nparts, size_t bytes, uint64_t* tag) {
  if (room == nullptr) return Filled::kNoMemory;
  copy_parts(static_cast<std::byte*>(room), parts, nparts);
  copied_bytes_ += bytes;
  return lend_one(slot, memory_->describe({room, bytes}), tag);
}

// A block for message next_, in place of one it may have already. With `must` the message can go no
// other way. Then the first of the channel does not wait for ever, because those that hold the
// memory may be waiting for it; what is before any other here may be all that the peer waits for.
void* RingSendChannel::take_block(size_t bytes, bool must) {
  if (blocks_.empty()) {
    blocks_.resize(kRingSlots);
    blocks_kept_ = next_;
  }
  give_back_blocks(ring_.consumed().load(std::memory_order_acquire));
  void*& block = blocks_[next_ % kRingSlots];
  drop_block(&block);
  const bool first = must && blocks_out_ == 0;
  block = memory_->take_block(bytes, BlockUse::kMessage, first ? &wait_ : nullptr);
  if (block != nullptr) ++blocks_out_;
  if (!wait_.never.ok()) {
    failure_ = error(wait_.never.code(), "no room for a copy of %zu bytes for peer %d: %s", bytes,
                     end_.key.peer, wait_.never.text().c_str());
  }
  return block;
}

void RingSendChannel::drop_block(void** block) {
  if (*block == nullptr) return;
  memory_->give_block(*block);
  *block = nullptr;
  --blocks_out_;
}

void RingSendChannel::give_back_blocks(uint64_t consumed) {
  if (blocks_.empty()) return;
  // No slot twice, however long ago that was.
  if (consumed > kRingSlots) blocks_kept_ = std::max(blocks_kept_, consumed - kRingSlots);
  for (; blocks_kept_ < consumed; ++blocks_kept_) drop_block(&blocks_[blocks_kept_ % kRingSlots]);
}

inline void RingSendChannel::publish(RingSlot* slot, const OpHeader* header, uint64_t tag) {
  if (header != nullptr) {
    // Field by field: the caller has just written them, and one wide load of what several narrow
    // stores have not yet brought to the cache waits for all of them (10 ns here).
    slot->message.header.comm_epoch = header->comm_epoch;
    slot->message.header.sequence = header->sequence;
    slot->message.header.fingerprint = header->fingerprint;
    tag |= kHasHeader;
  }
  slot->message.tag = tag;
  // Pairs with the acquire load in RingRecvChannel::arrived.
  slot->message.stamp.store(next_ + 1, std::memory_order_release);
  ++next_;
  prefetch_to_write(ring_.slot(next_).message);
  light_barrier();
  if (sleepers_->load(std::memory_order_relaxed) != 0) link_->wake_peer();
}

bool RingSendChannel::post_send(const OpHeader* header, const iovec* parts, int nparts) {
  if (!has_room() || ended()) return false;
  if (nparts != 1 || parts[0].iov_len > line_bytes_) return post_large(header, parts, nparts);
  // The shortest way for the shortest messages; post_large would do the same.
  RingSlot* slot = &ring_.slot(next_);
  copy_line(slot->message.payload, parts[0].iov_base, parts[0].iov_len);
  copied_bytes_ += parts[0].iov_len;
  lent_ &= ~(uint64_t{1} << (next_ % kRingSlots));
  publish(slot, header, parts[0].iov_len << 8 | static_cast<uint64_t>(MessageKind::kLine));
  return true;
}

bool RingSendChannel::post_large(const OpHeader* header, const iovec* parts, int nparts) {
  RingSlot* slot = &ring_.slot(next_);
  const uint64_t bit = uint64_t{1} << (next_ % kRingSlots);
  uint64_t tag;
  const Filled filled = fill(slot, parts, nparts, &tag);
  if (filled == Filled::kNoMemory) return false;
  lent_ = filled == Filled::kCopied ? lent_ & ~bit : lent_ | bit;
  publish(slot, header, tag);
  return true;
}

void* RingSendChannel::place(size_t bytes, uint64_t fingerprint) {
  const OfferLine& offer = peer_ring_.slot(next_).offer;
  // Pairs with the release store in RingRecvChannel::offer.
  if (offer.stamp.load(std::memory_order_acquire) != next_ + 1) return nullptr;
  const uint32_t closed = bit_of(kRecvClosed | kGone, 1 - end_.side);
  if (state_->load(std::memory_order_acquire) & (kEnded | closed)) return nullptr;
  if (offer.place.bytes != bytes || offer.fingerprint != fingerprint) return nullptr;
  void* base = offer.base;
  if (offer.place.region != kSameSpace) {
    base = memory_ != nullptr ? memory_->resolve(offer.place) : nullptr;
    if (base == nullptr) return nullptr;
  }
  placed_ = next_;
  return base;
}

bool RingSendChannel::post_placed(const OpHeader* header, size_t bytes) {
  TUTTI_CHECK(placed_ == next_, "post_placed without an address from place()");
  if (!has_room() || ended()) return false;
  lent_ &= ~(uint64_t{1} << (next_ % kRingSlots));
  RingSlot* slot = &ring_.slot(next_);
  slot->message.consumed = peer_ring_.consumed().load(std::memory_order_acquire);
  publish(slot, header, bytes << 8 | static_cast<uint64_t>(MessageKind::kPlaced));
  return true;
}

// The oldest message from `consumed` on that lends memory, next_ when there is none.
inline uint64_t RingSendChannel::oldest_lent(uint64_t consumed) const {
  // Bits of [consumed, next_), oldest lowest: a slot's bit is stale once its message is consumed.
  const uint64_t outstanding = next_ - consumed;
  const uint32_t turn = consumed % kRingSlots;
  uint64_t lent = turn == 0 ? lent_ : lent_ >> turn | lent_ << (kRingSlots - turn);
  if (outstanding < kRingSlots) lent &= (uint64_t{1} << outstanding) - 1;
  return lent == 0 ? next_ : consumed + static_cast<uint64_t>(__builtin_ctzll(lent));
}

// The oldest message that still lends memory, next_ when there is none. The reader's counter is a
// line flight away; what its last placed message said is here.
uint64_t RingSendChannel::released() const {
  if (lent_ == 0) return next_;
  // Pairs with the release store in RingRecvChannel::describe.
  if (oldest_lent(ring_.heard().load(std::memory_order_acquire)) == next_) return next_;
  // Pairs with the release store in RingRecvChannel::give_back.
  return oldest_lent(ring_.consumed().load(std::memory_order_acquire));
}

uint64_t RingSendChannel::consumed() {
  if (!ended()) consumed_ = ring_.consumed().load(std::memory_order_acquire);
  return consumed_ > base_ ? consumed_ - base_ : 0;
}

uint64_t RingSendChannel::sent() {
  if (!ended()) {
    sent_ = released();
    if (sent_ == next_) lent_ = 0;  // the common case asks again without a look at the ring
    if (blocks_out_ != 0) give_back_blocks(sent_);  // others wait for them while we have no use
  }
  return sent_ - base_;
}

}  // namespace tutti
