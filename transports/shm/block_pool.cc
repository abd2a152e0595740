#include "transports/shm/block_pool.h"

#include <algorithm>
#include <bit>

namespace tutti {
namespace {

constexpr size_t kSmallest = size_t{64} << 10;

}  // namespace

BlockPool::~BlockPool() {
  MutexLock lock(mutex_);
  for (const auto& [block, kept] : blocks_) regions_->remove(block);
}

void* BlockPool::take(size_t bytes, bool must) {
  const size_t size = std::bit_ceil(std::max(bytes, kSmallest));
  MutexLock lock(mutex_);
  if (!must && out_bytes_ + size > kMostBytes) return nullptr;
  std::vector<void*>& same = free_[size];
  void* block = nullptr;
  if (!same.empty()) {
    block = same.back();
    same.pop_back();
    free_bytes_ -= size;
  } else {
    Result<void*> made = regions_->add(size);
    if (!made.ok()) return nullptr;
    block = made.value();
  }
  blocks_[block] = {size, !must};
  if (!must) out_bytes_ += size;
  return block;
}

void BlockPool::give(void* block) {
  MutexLock lock(mutex_);
  const auto [size, counted] = blocks_.at(block);
  if (counted) out_bytes_ -= size;
  if (size + free_bytes_ <= kMostBytes) {
    free_[size].push_back(block);
    free_bytes_ += size;
    return;
  }
  blocks_.erase(block);
  regions_->remove(block);
}

}  // namespace tutti
