#include "transports/ring/staging.h"

namespace tutti {

std::byte* Staging::take(uint64_t number, uint64_t consumed, size_t bytes) {
  if (block_ == nullptr) {
    if (refused_) return nullptr;
    block_ = static_cast<std::byte*>(memory_->take_block(kBlockBytes, BlockUse::kStaging, nullptr));
    refused_ = block_ == nullptr;
    if (refused_) return nullptr;
    room_ = std::make_unique<CircularRoom>(kBlockBytes, 0, 0);
  }
  const uint64_t offset = room_->take(number, consumed, bytes);
  return offset == CircularRoom::kNone ? nullptr : block_ + offset;
}

void Staging::drop() {
  if (block_ != nullptr) memory_->give_block(block_);
  block_ = nullptr;
}

}  // namespace tutti
