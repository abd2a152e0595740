#include "transports/shm/regions.h"

#include <algorithm>
#include <utility>

namespace tutti {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

Result<void*> OwnRegions::add(size_t bytes) {
  Result<Segment> made = Segment::create(bytes, bytes >= kHugePage ? kHugePage : kPage);
  if (!made.ok()) return made.status();
  MutexLock lock(mutex_);
  uint32_t slot = 0;
  while (slot < kMaxRegions && segments_.count(slot) != 0) ++slot;
  if (slot == kMaxRegions) {
    return error(Code::kOutOfMemory, "shm: more than %u pieces of memory", kMaxRegions);
  }
  Segment& segment = segments_[slot] = std::move(made.value());
  Slot& s = slots_[slot];
  // Loads and stores of a slot are acquire and release throughout: whoever sees the new base has
  // seen generation 0 before it, and looks at the generation again after it.
  s.generation.store(0, std::memory_order_release);
  s.base.store(reinterpret_cast<uintptr_t>(segment.base()), std::memory_order_release);
  s.bytes.store(segment.bytes(), std::memory_order_release);
  if (++generations_ == 0) ++generations_;
  s.generation.store(generations_, std::memory_order_release);
  used_.store(std::max(used_.load(std::memory_order_relaxed), slot + 1), std::memory_order_release);
  return static_cast<void*>(segment.base());
}

bool OwnRegions::remove(void* base) {
  const RegionPlace place = find(base, 1);
  if (place.generation == 0 || place.offset != 0) return false;
  MutexLock lock(mutex_);
  slots_[place.slot].generation.store(0, std::memory_order_release);
  const auto segment = segments_.find(place.slot);
  segment->second.discard();
  segments_.erase(segment);
  return true;
}

RegionPlace OwnRegions::find(const void* base, size_t bytes) const {
  const auto at = reinterpret_cast<uintptr_t>(base);
  const uint32_t used = used_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < used; ++i) {
    const Slot& s = slots_[i];
    const uint32_t generation = s.generation.load(std::memory_order_acquire);
    const uintptr_t start = s.base.load(std::memory_order_acquire);
    const uint64_t length = s.bytes.load(std::memory_order_acquire);
    if (generation == 0 || at < start || at - start > length || bytes > length - (at - start)) {
      continue;
    }
    if (s.generation.load(std::memory_order_acquire) == generation) {
      return {i, generation, at - start};
    }
  }
  return {};
}

int OwnRegions::descriptor(uint32_t slot, uint32_t generation, uint64_t* bytes) const {
  MutexLock lock(mutex_);
  const auto segment = segments_.find(slot);
  const bool there = segment != segments_.end() &&
                     slots_[slot].generation.load(std::memory_order_acquire) == generation;
  if (!there) return -1;
  *bytes = segment->second.bytes();
  return segment->second.fd();
}

}  // namespace tutti
