#include "transports/shm/regions.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include "transports/ring/ring.h"

namespace tutti {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t physical_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  return pages > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(sysconf(_SC_PAGESIZE))
                   : SIZE_MAX / 2;
}

uintptr_t round_up(uintptr_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

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

Result<uintptr_t> OwnRegions::add_arena(size_t bytes, bool shared, uint32_t reserve) {
  if (regions_.size() + reserve >= kMaxRegions) {
    return error(Code::kOutOfMemory, "shm: more than %u pieces of memory", kMaxRegions - reserve);
  }
  Result<Segment> made = Segment::create(bytes, bytes >= kHugePage ? kHugePage : kPageBytes);
  if (!made.ok()) return made.status();
  auto segment = std::make_shared<Segment>(std::move(made.value()));
  const auto start = reinterpret_cast<uintptr_t>(segment->base());
  const size_t size = segment->bytes();
  Result<uint32_t> slot = take_slot({std::move(segment), 0}, start, size);
  if (!slot.ok()) return slot.status();
  Arena& arena = arenas_[start];
  arena.end = start + size;
  arena.shared = shared;
  arena.slots.push_back(slot.value());
  if (shared) arena.free[start] = arena.end;
  return start;
}

void OwnRegions::remove_arena(Arenas::iterator arena) {
  for (uint32_t slot : arena->second.slots) {
    slots_[slot].generation.store(0, std::memory_order_release);
  }
  // The first segment's mapping is that of all.
  for (uint32_t slot : arena->second.slots) regions_.erase(slot);
  arenas_.erase(arena);
}

// From the first free stretch of an arena that is long enough; 0 when there is none.
uintptr_t OwnRegions::carve(size_t bytes, size_t alignment) {
  for (auto& [base, arena] : arenas_) {
    for (auto stretch = arena.free.begin(); stretch != arena.free.end(); ++stretch) {
      const auto [start, end] = *stretch;
      const uintptr_t at = round_up(start, alignment);
      if (at > end || end - at < bytes) continue;
      arena.free.erase(stretch);
      if (at > start) arena.free[start] = at;
      if (at + bytes < end) arena.free[at + bytes] = end;
      return at;
    }
  }
  return 0;
}

Result<void*> OwnRegions::add(size_t bytes, uint32_t reserve) {
  // Pages are taken when they are touched, so more than there can be has to be refused here.
  if (bytes > physical_bytes()) {
    return error(Code::kOutOfMemory, "shm: %zu bytes are more than this host has", bytes);
  }
  const size_t rounded = round_up(std::max<size_t>(bytes, 1), kPageBytes);
  const size_t alignment = rounded >= kHugePage ? kHugePage : kPageBytes;
  MutexLock lock(mutex_);
  uintptr_t at = 0;
  if (rounded > kLargestShared) {
    Result<uintptr_t> own = add_arena(rounded, false, reserve);
    if (!own.ok()) return own.status();
    at = own.value();
  } else if ((at = carve(rounded, alignment)) == 0) {
    const Result<uintptr_t> arena = add_arena(kArenaBytes, true, reserve);
    if (!arena.ok()) return arena.status();
    at = carve(rounded, alignment);
  }
  allocated_[at] = rounded;
  nodes_.prefer(reinterpret_cast<void*>(at), rounded, nodes_.current());
  return reinterpret_cast<void*>(at);
}

OwnRegions::Arenas::iterator OwnRegions::arena_of(uintptr_t at) {
  const auto next = arenas_.upper_bound(at);
  if (next == arenas_.begin()) return arenas_.end();
  const auto found = std::prev(next);
  return at < found->second.end ? found : arenas_.end();
}

bool OwnRegions::remove(void* base) {
  auto low = reinterpret_cast<uintptr_t>(base);
  MutexLock lock(mutex_);
  const auto found = allocated_.find(low);
  if (found == allocated_.end()) return false;
  uintptr_t high = low + found->second;
  allocated_.erase(found);
  // The pages go back to the system, also where peers have them mapped.
  if (madvise(base, high - low, MADV_REMOVE) != 0) std::memset(base, 0, high - low);
  const auto arena = arena_of(low);
  auto& free = arena->second.free;
  const auto behind = free.find(high);
  if (behind != free.end()) {
    high = behind->second;
    free.erase(behind);
  }
  const auto after = free.lower_bound(low);
  if (after != free.begin() && std::prev(after)->second == low) low = std::prev(after)->first;
  free[low] = high;
  // A shared one is kept for the next allocation, unless it has lost pages and is in pieces.
  const bool empty = low == arena->first && high == arena->second.end;
  if (empty && (!arena->second.shared || !arena->second.detached.empty())) remove_arena(arena);
  return true;
}

Status OwnRegions::detach(void* base, size_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(base);
  MutexLock lock(mutex_);
  const auto arena = arena_of(at);
  if (arena == arenas_.end()) return Status();  // it is gone already
  const uintptr_t high = std::min(arena->second.end, round_up(at + bytes, kPageBytes));
  return replace(&arena->second, at / kPageBytes * kPageBytes, high);
}

// One region after the other, so that a failure leaves each of them whole.
Status OwnRegions::replace(Arena* arena, uintptr_t low, uintptr_t high) {
  const std::vector<uint32_t> slots = arena->slots;
  for (uint32_t slot : slots) {
    const uintptr_t start = slots_[slot].base.load(std::memory_order_acquire);
    const uintptr_t end = start + slots_[slot].bytes.load(std::memory_order_acquire);
    const uintptr_t from = std::max(low, start);
    const uintptr_t to = std::min(high, end);
    if (from < to) TUTTI_TRY(split(arena, slot, from, to));
  }
  return Status();
}

// Pages [low, high) of a region get a segment of their own. The slot keeps what lies before them,
// if only nothing, under its generation: peers may go on using what they have mapped of it.
Status OwnRegions::split(Arena* arena, uint32_t slot, uintptr_t low, uintptr_t high) {
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
  if (middle.ok()) arena->slots.push_back(middle.value());
  if (arena->remapped) arena->files.push_back(fresh->inode());
  if (high < end) {
    const Result<uint32_t> rest =
        take_slot({whole.segment, whole.offset + (high - start)}, high, end - high);
    if (rest.ok()) arena->slots.push_back(rest.value());
  }
  const uint64_t when = detaches_.load(std::memory_order_relaxed) + 1;
  arena->detached.push_back({low, high, when});
  detaches_.store(when, std::memory_order_release);
  return Status();
}

bool OwnRegions::is_detached(const void* base, size_t bytes, uint64_t since) const {
  const auto low = reinterpret_cast<uintptr_t>(base);
  MutexLock lock(mutex_);
  const auto next = arenas_.upper_bound(low);
  if (next == arenas_.begin()) return false;
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
  return {region->second.segment, region->second.offset, s.bytes.load(std::memory_order_acquire)};
}

}  // namespace tutti
