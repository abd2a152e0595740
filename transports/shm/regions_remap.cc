// OwnRegions: memory of the caller, in place; and fork().
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <utility>

#include "transports/ring/ring.h"
#include "transports/shm/mappings.h"
#include "transports/shm/regions.h"

namespace tutti {
namespace {

// Private pages with the same contents. They take their place in one step of the kernel, so that
// readers see no other.
Status make_private(uintptr_t low, uintptr_t high) {
  const size_t bytes = high - low;
  void* const at = reinterpret_cast<void*>(low);
  void* const fresh =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (fresh != MAP_FAILED) {
    std::memcpy(fresh, at, bytes);
    if (mremap(fresh, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) != MAP_FAILED) {
      return Status();
    }
  }
  const int failed = errno;
  if (fresh != MAP_FAILED) munmap(fresh, bytes);
  return error(Code::kOutOfMemory, "shm: making %zu bytes at %p private again: %s", bytes, at,
               std::strerror(failed));
}

// Where the files are mapped in [low, high), neighbours joined.
std::vector<std::pair<uintptr_t, uintptr_t>> stretches_of(const std::vector<uint64_t>& files,
                                                          const std::vector<Mapping>& mappings,
                                                          uintptr_t low, uintptr_t high) {
  std::vector<std::pair<uintptr_t, uintptr_t>> found;
  for (const Mapping& mapping : mappings) {
    const bool shared = mapping.access.size() == 4 && mapping.access[3] == 's';
    if (!shared || std::count(files.begin(), files.end(), mapping.file) == 0) continue;
    const uintptr_t from = std::max(low, mapping.low);
    const uintptr_t to = std::min(high, mapping.high);
    if (!found.empty() && found.back().second == from) {
      found.back().second = to;
    } else {
      found.emplace_back(from, to);
    }
  }
  return found;
}

bool holds_this_stack(uintptr_t low, uintptr_t high) {
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  return low <= here && here < high;
}

// Whether pages [low, high), the whole ones among the caller's bytes, may be replaced.
Status check_private(void* base, size_t bytes, uintptr_t low, uintptr_t high) {
  if (low >= high) {
    return error(Code::kInvalidArgument,
                 "shm: cannot remap %zu bytes at %p: expected a whole page of %zu bytes in them",
                 bytes, base, kPageBytes);
  }
  const Result<std::vector<Mapping>> mappings = mappings_of(low, high);
  if (!mappings.ok()) return mappings.status();
  std::string other = other_than_private(mappings.value(), low, high);
  if (other.empty() && holds_this_stack(low, high)) other = "the stack of this thread";
  if (other.empty()) return Status();
  return error(Code::kInvalidArgument,
               "shm: cannot remap %zu bytes at %p: expected private memory that can be written, "
               "got %s",
               bytes, base, other.c_str());
}

}  // namespace

// Whether add() has given the range; not ok when any of it has been remapped.
Result<bool> OwnRegions::is_ours(uintptr_t low, uintptr_t high) {
  const auto next = arenas_.lower_bound(high);
  if (next == arenas_.begin()) return false;
  const auto& [start, arena] = *std::prev(next);
  if (arena.end <= low) return false;
  if (!arena.remapped) return start <= low && high <= arena.end;
  return error(Code::kInvalidArgument,
               "shm: %zu bytes at %p: peers can map %zu of them at %p already (remapped before)",
               static_cast<size_t>(high - low), reinterpret_cast<void*>(low),
               static_cast<size_t>(std::min(high, arena.end) - std::max(low, start)),
               reinterpret_cast<void*>(std::max(low, start)));
}

Result<void*> OwnRegions::remap(void* base, size_t bytes, uint32_t reserve) {
  const auto at = reinterpret_cast<uintptr_t>(base);
  const uintptr_t low = (at + kPageBytes - 1) / kPageBytes * kPageBytes;
  const uintptr_t high = (at + bytes) / kPageBytes * kPageBytes;
  MutexLock lock(mutex_);
  const Result<bool> ours = is_ours(at, at + bytes);
  if (!ours.ok()) return ours.status();
  if (ours.value()) return static_cast<void*>(nullptr);
  TUTTI_TRY(check_private(base, bytes, low, high));
  if (regions_.size() + reserve >= kMaxRegions) {
    return error(Code::kOutOfMemory, "shm: more than %u pieces of memory", kMaxRegions - reserve);
  }
  Result<Segment> made = Segment::create_unmapped(high - low);
  if (!made.ok()) return made.status();
  auto segment = std::make_shared<Segment>(std::move(made.value()));
  void* const pages = reinterpret_cast<void*>(low);
  TUTTI_TRY(segment->write(pages, high - low));
  const int failed = segment->map_over(pages);
  if (failed != 0) {
    return error(Code::kOutOfMemory, "shm: mapping other memory at %p: %s", pages,
                 std::strerror(failed));
  }
  Arena& arena = arenas_[low];
  arena.end = high;
  arena.remapped = true;
  arena.files.push_back(segment->inode());
  arena.forks = forks_;
  arena.slots.push_back(take_slot({std::move(segment), 0}, low, high - low).value());
  return pages;
}

Status OwnRegions::restore(void* start) {
  const auto low = reinterpret_cast<uintptr_t>(start);
  MutexLock lock(mutex_);
  const auto found = arenas_.find(low);
  if (found == arenas_.end() || !found->second.remapped) {
    return error(Code::kInvalidArgument, "shm: no memory at %p has been remapped", start);
  }
  const Arena& arena = found->second;
  const Result<std::vector<Mapping>> mappings = mappings_of(low, arena.end);
  if (!mappings.ok()) return mappings.status();
  uintptr_t kept = 0;
  for (const auto& [from, to] : stretches_of(arena.files, mappings.value(), low, arena.end)) {
    TUTTI_TRY(make_private(from, to));
    kept += to - from;
  }
  for (uint32_t slot : arena.slots) {
    // A child forked since then may still read there.
    if (arena.forks != forks_) break;
    const Region& region = regions_.at(slot);
    region.segment->discard(region.offset, slots_[slot].bytes.load(std::memory_order_acquire));
  }
  const size_t bytes = arena.end - low;
  remove_arena(found);
  if (kept == bytes) return Status();
  return error(Code::kInvalidUsage,
               "shm: of %zu bytes registered at %p, %zu have been freed or mapped anew since, and "
               "stay as they are: memory must stay until it is deregistered",
               bytes, start, bytes - static_cast<size_t>(kept));
}

void OwnRegions::before_fork() {
  mutex_.lock();
  forking_ = true;
}

void OwnRegions::after_fork_in_parent() {
  forking_ = false;
  ++forks_;
  mutex_.unlock();
}

// System calls only. What cannot be mapped anew cannot be touched: better that than a write which
// the parent sees. In a child of the child all is as the child had it.
void OwnRegions::after_fork_in_child() {
  if (!forking_) return;
  forking_ = false;
  for (const auto& [start, arena] : arenas_) {
    if (!arena.remapped) continue;
    (void)mprotect(reinterpret_cast<void*>(start), arena.end - start, PROT_NONE);
    for (uint32_t slot : arena.slots) {
      const Region& region = regions_.at(slot);
      const uint64_t bytes = slots_[slot].bytes.load(std::memory_order_acquire);
      void* const at = reinterpret_cast<void*>(slots_[slot].base.load(std::memory_order_acquire));
      if (bytes != 0) (void)region.segment->map_private_over(at, region.offset, bytes);
    }
  }
  mutex_.unlock();
}

}  // namespace tutti
