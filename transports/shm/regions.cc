#include "transports/shm/regions.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <utility>

namespace tutti {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

Result<uint32_t> OwnRegions::take_slot(Region region, uintptr_t base, uint64_t bytes) {
  uint32_t slot = 0;
  while (slot < kMaxRegions && regions_.count(slot) != 0) ++slot;
  if (slot == kMaxRegions) {
    return error(Code::kOutOfMemory, "shm: more than %u pieces of memory", kMaxRegions);
  }
  regions_.emplace(slot, std::move(region));
  Slot& s = slots_[slot];
  // Loads and stores of a slot are acquire and release throughout: whoever sees the new base has
  // seen generation 0 before it, and looks at the generation again after it.
  s.generation.store(0, std::memory_order_release);
  s.base.store(base, std::memory_order_release);
  s.bytes.store(bytes, std::memory_order_release);
  if (++generations_ == 0) ++generations_;
  s.generation.store(generations_, std::memory_order_release);
  used_.store(std::max(used_.load(std::memory_order_relaxed), slot + 1), std::memory_order_release);
  return slot;
}

Result<void*> OwnRegions::add(size_t bytes) {
  Result<Segment> made = Segment::create(bytes, bytes >= kHugePage ? kHugePage : kPage);
  if (!made.ok()) return made.status();
  auto segment = std::make_shared<Segment>(std::move(made.value()));
  void* const base = segment->base();
  const auto start = reinterpret_cast<uintptr_t>(base);
  const size_t size = segment->bytes();
  MutexLock lock(mutex_);
  Result<uint32_t> slot = take_slot({std::move(segment), 0}, start, size);
  if (!slot.ok()) return slot.status();
  allocations_[start] = {start + size, {slot.value()}, {}};
  return base;
}

OwnRegions::Allocation* OwnRegions::allocation_of(uintptr_t at) {
  auto next = allocations_.upper_bound(at);
  if (next == allocations_.begin()) return nullptr;
  Allocation& found = std::prev(next)->second;
  return at < found.end ? &found : nullptr;
}

bool OwnRegions::remove(void* base) {
  MutexLock lock(mutex_);
  const auto found = allocations_.find(reinterpret_cast<uintptr_t>(base));
  if (found == allocations_.end()) return false;
  for (uint32_t slot : found->second.slots) {
    slots_[slot].generation.store(0, std::memory_order_release);
    regions_.at(slot).segment->discard();
  }
  // The first segment's mapping is that of all.
  for (uint32_t slot : found->second.slots) regions_.erase(slot);
  allocations_.erase(found);
  return true;
}

Status OwnRegions::detach(void* base, size_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(base);
  MutexLock lock(mutex_);
  Allocation* allocation = allocation_of(at);
  if (allocation == nullptr) return Status();  // it is gone already
  const uintptr_t low = at / kPage * kPage;
  const uintptr_t high = std::min(allocation->end, (at + bytes + kPage - 1) / kPage * kPage);
  return replace(allocation, low, high);
}

// One region after the other, so that a failure leaves each of them whole.
Status OwnRegions::replace(Allocation* allocation, uintptr_t low, uintptr_t high) {
  const std::vector<uint32_t> slots = allocation->slots;
  for (uint32_t slot : slots) {
    const uintptr_t start = slots_[slot].base.load(std::memory_order_acquire);
    const uintptr_t end = start + slots_[slot].bytes.load(std::memory_order_acquire);
    const uintptr_t from = std::max(low, start);
    const uintptr_t to = std::min(high, end);
    if (from < to) TUTTI_TRY(split(allocation, slot, from, to));
  }
  return Status();
}

// Pages [low, high) of a region get a segment of their own. The slot keeps what lies before them,
// if only nothing, under its generation: peers may go on using what they have mapped of it.
Status OwnRegions::split(Allocation* allocation, uint32_t slot, uintptr_t low, uintptr_t high) {
  Slot& s = slots_[slot];
  const uintptr_t start = s.base.load(std::memory_order_acquire);
  const uintptr_t end = start + s.bytes.load(std::memory_order_acquire);
  const Region whole = regions_.at(slot);
  Result<Segment> made = Segment::create_unmapped(high - low);
  if (!made.ok()) return made.status();
  auto fresh = std::make_shared<Segment>(std::move(made.value()));
  void* const pages = reinterpret_cast<void*>(low);
  TUTTI_TRY(fresh->write(pages, high - low));
  s.bytes.store(low - start, std::memory_order_release);
  const int failed = fresh->map_over(pages);
  if (failed != 0) {
    s.bytes.store(end - start, std::memory_order_release);
    return error(Code::kOutOfMemory, "shm: mapping other memory at %p: %s", pages,
                 std::strerror(failed));
  }
  // Without a slot, memory is still good: peers do not map it, that is all.
  const Result<uint32_t> middle = take_slot({fresh, 0}, low, high - low);
  if (middle.ok()) allocation->slots.push_back(middle.value());
  if (high < end) {
    const Result<uint32_t> rest =
        take_slot({whole.segment, whole.offset + (high - start)}, high, end - high);
    if (rest.ok()) allocation->slots.push_back(rest.value());
  }
  const uint64_t when = detaches_.load(std::memory_order_relaxed) + 1;
  allocation->detached.push_back({low, high, when});
  detaches_.store(when, std::memory_order_release);
  return Status();
}

bool OwnRegions::is_detached(const void* base, size_t bytes, uint64_t since) const {
  const auto low = reinterpret_cast<uintptr_t>(base);
  MutexLock lock(mutex_);
  const auto next = allocations_.upper_bound(low);
  if (next == allocations_.begin()) return false;
  const std::vector<Range>& detached = std::prev(next)->second.detached;
  return std::any_of(detached.begin(), detached.end(), [&](const Range& range) {
    return range.when > since && range.low < low + bytes && low < range.high;
  });
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

RegionFile OwnRegions::file(uint32_t slot, uint32_t generation) const {
  MutexLock lock(mutex_);
  const auto region = regions_.find(slot);
  const Slot& s = slots_[slot];
  const bool there =
      region != regions_.end() && s.generation.load(std::memory_order_acquire) == generation;
  if (!there) return {};
  return {region->second.segment->fd(), region->second.offset,
          s.bytes.load(std::memory_order_acquire)};
}

}  // namespace tutti
