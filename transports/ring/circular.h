// Room for payloads of the messages of a ring, given out round and round by bytes and taken back in
// order as messages are consumed. A value: it knows offsets, not memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "transports/ring/ring.h"

namespace tutti {

class CircularRoom {
 public:
  static constexpr uint64_t kNone = UINT64_MAX;

  // `size`: a power of 2, from a line to 2 MiB. It begins at `start`, in whole lines, and is free,
  // but for what messages before `first` hold, which may be all of it.
  CircularRoom(uint64_t size, uint64_t start, uint64_t first)
      : size_(size), head_(start), tail_(start + size) {
    if (first == 0) return;
    first_ = first - 1;
    tail_ = head_;
    lines_[first_ % kRingSlots] = static_cast<uint16_t>(size / kRingLine);
  }

  // Offset of room for `bytes` of message `number`, in whole lines; kNone when there is none, since
  // `consumed` messages have been. At most once a message; numbers rise, and by less than
  // kRingSlots over `consumed`.
  uint64_t take(uint64_t number, uint64_t consumed, size_t bytes) {
    const uint64_t rounded = (bytes + kRingLine - 1) / kRingLine * kRingLine;
    const uint64_t at = head_ & (size_ - 1);
    // Not over the end.
    const uint64_t start = at + rounded > size_ ? head_ + size_ - at : head_;
    if (start + rounded > tail_) reclaim(number, consumed);
    if (start + rounded > tail_) return kNone;
    // What the slot still names was of a message that is consumed, for the slot is free.
    uint16_t& lines = lines_[number % kRingSlots];
    tail_ += lines * kRingLine;
    lines = static_cast<uint16_t>((start + rounded - head_) / kRingLine);
    head_ = start + rounded;
    return start & (size_ - 1);
  }

 private:
  void reclaim(uint64_t number, uint64_t consumed) {
    // Once round at most: a slot has had several messages since, or none that took room.
    if (number > kRingSlots) first_ = std::max(first_, number - kRingSlots);
    for (; first_ < consumed; ++first_) {
      uint16_t& lines = lines_[first_ % kRingSlots];
      tail_ += lines * kRingLine;
      lines = 0;
    }
  }

  uint64_t size_;
  // What is free is [head_, tail_), modulo size_.
  uint64_t head_;
  uint64_t tail_;
  uint64_t first_ = 0;                           // messages before it hold nothing, or slots say so
  std::array<uint16_t, kRingSlots> lines_ = {};  // by slot: what its message took
};

}  // namespace tutti
