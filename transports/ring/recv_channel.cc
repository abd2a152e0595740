#include <algorithm>
#include <cstring>

#include "comm/base/check.h"
#include "comm/base/membarrier.h"
#include "transports/ring/channel.h"

namespace tutti {

Result<std::unique_ptr<RecvChannel>> RingRecvChannel::open(std::shared_ptr<RingLink> link,
                                                           const ChannelKey& key) {
  Result<RingEnd> end = link->open(key, Direction::kRecv);
  if (!end.ok()) return end.status();
  std::unique_ptr<RecvChannel> channel =
      std::make_unique<RingRecvChannel>(std::move(link), end.value());
  return channel;
}

RingRecvChannel::RingRecvChannel(std::shared_ptr<RingLink> link, const RingEnd& end)
    : ring_(end.pair, 1 - end.side),
      own_ring_(end.pair, end.side),
      state_(&end.pair->state.bits),
      sleepers_(&link->peer_sleepers()),
      next_(end.position),
      base_(end.position),
      cut_(bit_of(kSendClosed | kGone, 1 - end.side)),
      memory_(link->memory()),
      end_(end),
      link_(std::move(link)) {}

RingRecvChannel::~RingRecvChannel() { link_->close(end_, next_, false); }

// The line of message next_ when it may be reported, else null. What a closed or vanished sender
// left in the ring still arrives; what it only lent does not.
inline const MessageLine* RingRecvChannel::arrived() const {
  const MessageLine& line = ring_.slot(next_).message;
  // Pairs with the release store in RingSendChannel::publish.
  if (line.stamp.load(std::memory_order_acquire) != next_ + 1) return nullptr;
  const uint32_t state = state_->load(std::memory_order_acquire);
  if (state & kEnded) return nullptr;
  if (state & cut_) {
    const auto kind = static_cast<MessageKind>(line.tag & kKindMask);
    if (kind == MessageKind::kOnePart || kind == MessageKind::kParts ||
        kind == MessageKind::kPartList) {
      return nullptr;
    }
  }
  return &line;
}

inline void RingRecvChannel::describe(const MessageLine& line) {
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
      part_ = {ring_.spill(line.spilled, bytes), bytes};
      if (part_.iov_base == nullptr) show_nothing();
      break;
    case MessageKind::kOnePart:
      if (line.one.region == kSameSpace) {
        part_ = {reinterpret_cast<void*>(line.one.address), line.one.bytes};
      } else {
        show(&line.one, 1);
      }
      break;
    case MessageKind::kParts:
      message_.parts = line.lent.parts;
      message_.nparts = static_cast<int>(line.lent.nparts);
      break;
    case MessageKind::kPartList:
      describe_list(line.list);
      break;
    case MessageKind::kPlaced:
      describe_placed(own_ring_.slot(next_).offer, line.consumed);
      break;
  }
}

// Our own line: the sender needs to say no more than that it used the offer.
inline void RingRecvChannel::describe_placed(const OfferLine& offer, uint64_t consumed) {
  part_ = {offer.base, message_.bytes};
  message_.placed = true;
  // Pairs with the acquire load in RingSendChannel::released.
  own_ring_.heard().store(consumed, std::memory_order_release);
  // Another communicator may have had to give up memory that lies on the same pages.
  if (memory_ != nullptr && memory_->detaches() != offer.detaches &&
      memory_->is_detached(offer.base, message_.bytes, offer.detaches)) {
    show_nothing();
  }
}

// What message_ says cannot be had: fetch() tells.
void RingRecvChannel::show_nothing() {
  num_lent_ = 0;
  message_.parts = nullptr;
  message_.nparts = 0;
  message_.placed = false;
}

// What the sender lends from another address space: where it lies here, or no parts at all.
void RingRecvChannel::show(const LentRange* lent, size_t nparts) {
  lent_ = lent;
  num_lent_ = nparts;
  if (list_.size() < nparts) list_.resize(nparts);
  for (size_t i = 0; i < nparts; ++i) {
    void* base = memory_ != nullptr ? memory_->resolve(lent[i]) : nullptr;
    if (base == nullptr) {
      message_.parts = nullptr;
      message_.nparts = 0;
      return;
    }
    list_[i] = {base, lent[i].bytes};
  }
  message_.parts = list_.data();
  message_.nparts = static_cast<int>(nparts);
}

void RingRecvChannel::describe_list(const PartList& list) {
  const void* at = nullptr;
  if (list.where.region == kInSpill) {
    at = ring_.spill(list.where.address, list.where.bytes);
  } else if (memory_ != nullptr) {
    at = memory_->resolve(list.where);
  }
  if (at == nullptr || list.where.bytes != list.nparts * sizeof(LentRange)) return show_nothing();
  show(static_cast<const LentRange*>(at), list.nparts);
}

Status RingRecvChannel::fetch(size_t offset, void* to, size_t bytes) {
  TUTTI_CHECK(showing_ && message_.parts == nullptr, "fetch of a message that lies here");
  failure_ = memory_ != nullptr && num_lent_ > 0
                 ? memory_->read(lent_, num_lent_, offset, to, bytes)
                 : error(Code::kRemoteError,
                         "a message of %zu bytes is in memory that was taken back or cannot be "
                         "reached",
                         message_.bytes);
  return failure_;
}

const Message* RingRecvChannel::view() {
  if (!failure_.ok() || (pending_ != 0 && !showing_)) return nullptr;
  const MessageLine* line = arrived();
  if (line == nullptr) return nullptr;
  if (!showing_) describe(*line);
  showing_ = true;
  return &message_;
}

inline void RingRecvChannel::give_back() {
  showing_ = false;
  ++next_;
  // Pairs with the acquire loads in RingSendChannel: our reads of slot and payload are over.
  ring_.consumed().store(next_, std::memory_order_release);
  light_barrier();
  if (sleepers_->load(std::memory_order_relaxed) != 0) link_->wake_peer();
}

bool RingRecvChannel::release() {
  TUTTI_CHECK(showing_, "release without a message from view()");
  // After abort() nothing counts as received any more, not even what was being looked at.
  if (state_->load(std::memory_order_acquire) & kEnded) {
    showing_ = false;
    return false;
  }
  give_back();
  return true;
}

void RingRecvChannel::post_recv(const iovec* parts, int nparts) {
  TUTTI_CHECK(pending_ < kRingSlots, "more receives posted than slots");
  if (targets_.empty()) targets_.resize(kRingSlots);
  // A message that is being looked at needs no receive: this one is for what follows it.
  targets_[(next_ + showing_ + pending_) % kRingSlots] = {parts, nparts};
  ++pending_;
}

// Copies the message described by message_ into `target`, unless it lies in place or does not fit.
Status RingRecvChannel::land(const Posted& target) {
  if (message_.placed) return Status();
  size_t room = 0;
  for (int i = 0; i < target.nparts; ++i) room += target.parts[i].iov_len;
  if (room != message_.bytes) return Status();
  int from = 0;
  size_t from_offset = 0;
  size_t done = 0;
  for (int i = 0; i < target.nparts; ++i) {
    auto* out = static_cast<std::byte*>(target.parts[i].iov_base);
    size_t left = target.parts[i].iov_len;
    if (message_.parts == nullptr) {
      if (left > 0) TUTTI_TRY(fetch(done, out, left));
      done += left;
      continue;
    }
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
  return Status();
}

// One message per call, so that last() can be asked about each of them.
uint64_t RingRecvChannel::received() {
  if (pending_ != 0 && !showing_ && failure_.ok()) {
    const MessageLine* line = arrived();
    if (line != nullptr) {
      describe(*line);
      showing_ = true;
      failure_ = land(targets_[next_ % kRingSlots]);
      showing_ = false;
      const bool ended = state_->load(std::memory_order_acquire) & kEnded;
      if (!failure_.ok() || ended) return next_ - base_;
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

void RingRecvChannel::offer(uint64_t ordinal, void* base, size_t bytes, uint64_t fingerprint) {
  const uint64_t number = base_ + ordinal;
  // Too late, or so early that an offer still in use would be overwritten: it is only a hint.
  if (number < next_ || number - next_ >= kRingSlots) return;
  // What fits in the message line is there sooner than in the caller's memory (150 against 181 ns
  // per round trip), so it is not worth the offer's own line flight.
  if (bytes <= kLineBytes) return;
  OfferLine& line = own_ring_.slot(number).offer;
  // The first offer for a message stands: the sender may be reading it.
  const uint64_t stamp = line.stamp.load(std::memory_order_relaxed);  // only we write it
  if ((stamp & ~kWithdrawn) == number + 1) return;
  line.place = {reinterpret_cast<uint64_t>(base), bytes, kSameSpace, 0};
  if (memory_ != nullptr) {
    line.detaches = memory_->detaches();  // first: what is taken back from now on counts
    line.place = memory_->describe({base, bytes});
    if (line.place.region == kOwnAddress) return;  // nobody but us can write there
  }
  line.base = base;
  line.fingerprint = fingerprint;
  // Pairs with the acquire load in RingSendChannel::place.
  line.stamp.store(number + 1, std::memory_order_release);
}

Status RingRecvChannel::health() const { return failure_.ok() ? link_->health(end_) : failure_; }

}  // namespace tutti
