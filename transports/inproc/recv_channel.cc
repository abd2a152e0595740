#include <algorithm>
#include <cstring>

#include "comm/base/check.h"
#include "transports/inproc/channel.h"
#include "transports/inproc/health.h"

namespace tutti {

InprocRecvChannel::InprocRecvChannel(std::shared_ptr<InprocDomain> domain, const RingEnd& end,
                                     int peer)
    : ring_(&end.pair->ring[1 - end.side]),
      own_ring_(&end.pair->ring[end.side]),
      state_(&end.pair->state.bits),
      next_(end.position),
      base_(end.position),
      cut_(bit_of(kSendClosed | kGone, 1 - end.side)),
      peer_(peer),
      end_(end),
      domain_(std::move(domain)) {}

InprocRecvChannel::~InprocRecvChannel() { domain_->close(end_, next_, false); }

// The line of message next_ when it may be reported, else null. What a closed or vanished sender
// left in the ring still arrives; what it only lent does not.
inline const MessageLine* InprocRecvChannel::arrived() const {
  const MessageLine& line = ring_->slots[next_ % kRingSlots].message;
  // Pairs with the release store in InprocSendChannel::publish.
  if (line.stamp.load(std::memory_order_acquire) != next_ + 1) return nullptr;
  const uint32_t state = state_->load(std::memory_order_acquire);
  if (state & kEnded) return nullptr;
  if (state & cut_) {
    const auto kind = static_cast<MessageKind>(line.tag & kKindMask);
    if (kind == MessageKind::kOnePart || kind == MessageKind::kParts) return nullptr;
  }
  return &line;
}

inline void InprocRecvChannel::describe(const MessageLine& line) {
  const size_t bytes = line.tag >> 8;
  message_.header = line.tag & kHasHeader ? &line.header : nullptr;
  message_.parts = &part_;
  message_.nparts = 1;
  message_.bytes = bytes;
  message_.placed = false;
  switch (static_cast<MessageKind>(line.tag & kKindMask)) {
    case MessageKind::kLine:
      part_ = {const_cast<std::byte*>(line.payload), bytes};
      break;
    case MessageKind::kSpill:
      part_ = {ring_->spill[next_ % kRingSlots], bytes};
      break;
    case MessageKind::kOnePart:
      part_ = line.one;
      break;
    case MessageKind::kParts:
      message_.parts = line.lent.parts;
      message_.nparts = static_cast<int>(line.lent.nparts);
      break;
    case MessageKind::kPlaced:
      // Our own line: the sender needs to say no more than that it used the offer.
      part_ = {own_ring_->slots[next_ % kRingSlots].offer.base, bytes};
      message_.placed = true;
      // Pairs with the acquire load in InprocSendChannel::released.
      own_ring_->heard.count.store(line.consumed, std::memory_order_release);
      break;
  }
}

const Message* InprocRecvChannel::view() {
  if (pending_ != 0 && !showing_) return nullptr;
  const MessageLine* line = arrived();
  if (line == nullptr) return nullptr;
  if (!showing_) describe(*line);
  showing_ = true;
  return &message_;
}

inline void InprocRecvChannel::give_back() {
  showing_ = false;
  ++next_;
  // Pairs with the acquire loads in InprocSendChannel: our reads of slot and payload are over.
  ring_->consumed.count.store(next_, std::memory_order_release);
}

void InprocRecvChannel::release() {
  TUTTI_CHECK(showing_, "release without a message from view()");
  // After abort() nothing counts as received any more, not even what was being looked at.
  if (state_->load(std::memory_order_acquire) & kEnded) {
    showing_ = false;
    return;
  }
  give_back();
}

void InprocRecvChannel::post_recv(const iovec* parts, int nparts) {
  TUTTI_CHECK(pending_ < kRingSlots, "more receives posted than slots");
  // A message that is being looked at needs no receive: this one is for what follows it.
  targets_[(next_ + showing_ + pending_) % kRingSlots] = {parts, nparts};
  ++pending_;
}

// Copies the message described by message_ into `target`, unless it lies in place or does not fit.
void InprocRecvChannel::land(const Posted& target) {
  if (message_.placed) return;
  size_t room = 0;
  for (int i = 0; i < target.nparts; ++i) room += target.parts[i].iov_len;
  if (room != message_.bytes) return;
  int from = 0;
  size_t from_offset = 0;
  for (int i = 0; i < target.nparts; ++i) {
    auto* out = static_cast<std::byte*>(target.parts[i].iov_base);
    size_t left = target.parts[i].iov_len;
    while (left > 0) {
      const iovec& part = message_.parts[from];
      const size_t run = std::min(left, part.iov_len - from_offset);
      if (run > 0) {
        std::memcpy(out, static_cast<const std::byte*>(part.iov_base) + from_offset, run);
      }
      out += run;
      left -= run;
      from_offset += run;
      if (from_offset == part.iov_len) {
        ++from;
        from_offset = 0;
      }
    }
  }
}

// One message per call, so that last() can be asked about each of them.
uint64_t InprocRecvChannel::received() {
  if (pending_ != 0 && !showing_) {
    const MessageLine* line = arrived();
    if (line != nullptr) {
      describe(*line);
      land(targets_[next_ % kRingSlots]);
      last_ = {nullptr, nullptr, 0, message_.bytes, message_.placed};
      if (message_.header != nullptr) {
        last_header_ = *message_.header;
        last_.header = &last_header_;
      }
      --pending_;
      give_back();
    }
  }
  return next_ - base_;
}

void InprocRecvChannel::offer(uint64_t ordinal, void* base, size_t bytes, uint64_t fingerprint) {
  const uint64_t number = base_ + ordinal;
  // Too late, or so early that an offer still in use would be overwritten: it is only a hint.
  if (number < next_ || number - next_ >= kRingSlots) return;
  // What fits in the message line is there sooner than in the caller's memory (150 against 181 ns
  // per round trip), so it is not worth the offer's own line flight.
  if (bytes <= kLineBytes) return;
  OfferLine& line = own_ring_->slots[number % kRingSlots].offer;
  // The first offer for a message stands: the sender may be reading it.
  const uint64_t stamp = line.stamp.load(std::memory_order_relaxed);  // only we write it
  if ((stamp & ~kWithdrawn) == number + 1) return;
  line.base = base;
  line.bytes = bytes;
  line.fingerprint = fingerprint;
  // Pairs with the acquire load in InprocSendChannel::place.
  line.stamp.store(number + 1, std::memory_order_release);
}

Status InprocRecvChannel::health() const {
  return ring_health(state_->load(std::memory_order_acquire), end_, peer_);
}

}  // namespace tutti
