#include "transports/ring/staging.h"

#include <algorithm>

namespace tutti {

std::byte* Staging::take(uint64_t number, uint64_t consumed, size_t bytes) {
  if (block_ == nullptr) {
    if (refused_) return nullptr;
    block_ = static_cast<std::byte*>(memory_->take_block(kBlockBytes, BlockUse::kStaging, nullptr));
    refused_ = block_ == nullptr;
    if (refused_) return nullptr;
    first_ = number;
    ends_.resize(kRingSlots);
  }
  // No slot twice, however long ago that was.
  if (consumed > kRingSlots) first_ = std::max(first_, consumed - kRingSlots);
  for (; first_ < consumed; ++first_) {
    uint64_t& end = ends_[first_ % kRingSlots];
    if (end != 0) tail_ = std::max(tail_, end + kBlockBytes);
    end = 0;
  }
  first_ = std::max(first_, consumed);
  const size_t rounded = (bytes + kRingLine - 1) / kRingLine * kRingLine;
  const size_t at = head_ % kBlockBytes;
  const size_t skipped = at + rounded > kBlockBytes ? kBlockBytes - at : 0;
  if (head_ + skipped + rounded > tail_) return nullptr;
  std::byte* const room = block_ + (at + skipped) % kBlockBytes;
  head_ += skipped + rounded;
  ends_[number % kRingSlots] = head_;
  return room;
}

void Staging::drop() {
  if (block_ != nullptr) memory_->give_block(block_);
  block_ = nullptr;
}

}  // namespace tutti
