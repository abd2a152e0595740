#include "transports/shm/block_pool.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "comm/base/clock.h"

namespace tutti {
namespace {

constexpr size_t kSizesPerOctave = 8;  // few enough to meet again, and at most 1/8 too large

size_t size_for(size_t bytes) {
  const size_t unit = std::max(kPageBytes, std::bit_floor(bytes) / kSizesPerOctave);
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

BlockPool::~BlockPool() {
  MutexLock lock(mutex_);
  for (const auto& [block, kept] : blocks_) regions_->remove(block);
}

// Whether `bytes` more stay within `cap`, with fewer blocks kept if need be.
bool BlockPool::make_room(size_t bytes, size_t cap) {
  while (bytes_ + bytes > cap && !free_.empty()) {
    const auto largest = std::prev(free_.end());
    void* block = largest->second.back();
    largest->second.pop_back();
    bytes_ -= largest->first;
    if (largest->second.empty()) free_.erase(largest);
    blocks_.erase(block);
    regions_->remove(block);
  }
  return bytes_ + bytes <= cap;
}

void* BlockPool::reuse_or_add(size_t bytes, size_t cap) {
  const auto same = free_.find(bytes);
  if (same != free_.end() && bytes_ <= cap) {
    void* block = same->second.back();
    same->second.pop_back();
    if (same->second.empty()) free_.erase(same);
    return block;
  }
  if (!make_room(bytes, cap)) return nullptr;
  Result<void*> made = regions_->add(bytes);
  if (!made.ok()) return nullptr;
  bytes_ += bytes;
  return made.value();
}

// Whether somebody who finds no room should go on waiting for it.
void BlockPool::check(size_t bytes, size_t cap, BlockWait* wait) {
  const int64_t now = now_ns();
  if (wait->since_ns == 0) wait->since_ns = now;
  const bool fits = staging_bytes_ + bytes <= cap;
  if (fits && now - std::max(wait->since_ns, given_ns_) < patience_ns_) return;
  wait->never = error(Code::kOutOfMemory,
                      "%zu of the %zu bytes of TUTTI_BUFFER_CAP are taken%s; messages from "
                      "tuttiMemAlloc need no copy",
                      fits ? bytes_ : staging_bytes_, cap,
                      fits ? ", and nothing has come back for a while" : " for good");
}

void* BlockPool::take(size_t bytes, BlockUse use, size_t cap, BlockWait* wait) {
  const size_t size = bytes <= cap ? size_for(bytes) : cap + 1;
  const bool staging = use == BlockUse::kStaging;
  MutexLock lock(mutex_);
  const bool allowed = staging_bytes_ + size <= (staging ? cap / kStagingShare : cap);
  void* block = allowed ? reuse_or_add(size, cap) : nullptr;
  if (block == nullptr) {
    if (wait != nullptr) check(size, cap, wait);
    return nullptr;
  }
  if (wait != nullptr) wait->since_ns = 0;
  blocks_[block] = {size, use};
  if (staging) staging_bytes_ += size;
  return block;
}

void BlockPool::give(void* block) {
  MutexLock lock(mutex_);
  const Block known = blocks_.at(block);
  if (known.use == BlockUse::kStaging) staging_bytes_ -= known.bytes;
  free_[known.bytes].push_back(block);
  given_ns_ = now_ns();
}

size_t BlockPool::bytes() {
  MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace tutti
