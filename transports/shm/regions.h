// The memory of a process that its peers may map, by slot: a stretch of a segment each.
//
// Every segment costs a descriptor and a slot, so all but large allocations share arenas, by whole
// pages. An arena is one region at first. Where a peer that does not come out of a kernel may still
// write, its pages are replaced (detach()): they become a region of a segment of their own, what
// lies behind them another one. Looking up an address takes no lock and may be done by any thread
// while others add or remove: a slot's generation is 0 while it is being changed, and never the
// same twice.
//
// Memory of the caller can become such memory in place (remap()): its pages are replaced by those
// of a segment with the same contents, and by private ones again when it is given back (restore()).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/base/status.h"
#include "transports/shm/nodes.h"
#include "transports/shm/segment.h"

namespace tutti {

inline constexpr uint32_t kMaxRegions = 1024;

// Where a stretch of memory is: generation 0 for memory in no region.
struct RegionPlace {
  uint32_t slot = 0;
  uint32_t generation = 0;
  uint64_t offset = 0;
};

// What a peer needs to map a region: a stretch of a segment, null for none.
struct RegionFile {
  std::shared_ptr<const Segment> segment;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

class OwnRegions {
 public:
  // Larger allocations have a segment to themselves.
  static constexpr size_t kLargestShared = size_t{16} << 20;
  static constexpr size_t kArenaBytes = size_t{64} << 20;
  // Slots that add() leaves when asked to, for what Tutti itself needs.
  static constexpr uint32_t kReserve = 128;

  explicit OwnRegions(MemoryNodes::System nodes = MemoryNodes::host()) : nodes_(std::move(nodes)) {}
  OwnRegions(const OwnRegions&) = delete;
  OwnRegions& operator=(const OwnRegions&) = delete;

  // Zeros in whole pages, on the memory node of the calling thread, for as long as nobody removes
  // them. kOutOfMemory, also when all slots but `reserve` are taken.
  Result<void*> add(size_t bytes, uint32_t reserve = 0);
  // `base` as add() gave it; peers see zeros there from now on. False when it is none of ours.
  bool remove(void* base);

  // Puts other memory of the same contents under the pages that hold the range. Nobody but peers
  // whose writes are to be lost may be writing to these pages. kOutOfMemory: nothing has changed.
  Status detach(void* base, size_t bytes);
  uint64_t detaches() const { return detaches_.load(std::memory_order_acquire); }
  // Whether the range, in one allocation, has lost pages since detaches() was `since`.
  bool is_detached(const void* base, size_t bytes, uint64_t since) const;

  // Moves the whole pages in the range, which the caller owns, to where peers can map them; address
  // and contents stay. Nobody may write there meanwhile. Returns where they start, for restore();
  // null for memory that add() has given. kInvalidArgument for memory of any other kind than
  // private, and for what has been remapped already; kOutOfMemory. Failed: nothing has changed.
  Result<void*> remap(void* base, size_t bytes, uint32_t reserve = 0);
  // Makes the pages private to this process again, with what they hold. kOutOfMemory: nothing has
  // changed. kInvalidUsage when some are not there any more: the others are private.
  Status restore(void* start);

  // Around fork(). A child has memory that was remapped to itself: what it writes there nobody else
  // sees. Memory from add() it shares.
  void before_fork() TUTTI_NO_THREAD_CHECK;
  void after_fork_in_parent() TUTTI_NO_THREAD_CHECK;
  void after_fork_in_child() TUTTI_NO_THREAD_CHECK;

  RegionPlace find(const void* base, size_t bytes) const;
  RegionFile file(uint32_t slot, uint32_t generation) const;
  MemoryNodes& nodes() { return nodes_; }

 private:
  struct Slot {
    std::atomic<uint32_t> generation{0};
    std::atomic<uintptr_t> base{0};
    std::atomic<uint64_t> bytes{0};
  };
  struct Region {
    std::shared_ptr<Segment> segment;
    uint64_t offset;
  };
  struct Range {
    uintptr_t low;
    uintptr_t high;
    uint64_t when;  // detaches() after it
  };
  struct Arena {
    uintptr_t end = 0;
    bool shared = false;                  // by several allocations
    std::map<uintptr_t, uintptr_t> free;  // stretches of it: their ends, by their starts
    std::vector<uint32_t> slots;
    std::vector<Range> detached;
    bool remapped = false;        // memory of the caller
    std::vector<uint64_t> files;  // remapped: all that were ever mapped there
    uint64_t forks = 0;           // remapped: before that
  };
  using Arenas = std::map<uintptr_t, Arena>;

  Result<uint32_t> take_slot(Region region, uintptr_t base, uint64_t bytes) TUTTI_REQUIRES(mutex_);
  Result<uintptr_t> add_arena(size_t bytes, bool shared, uint32_t reserve) TUTTI_REQUIRES(mutex_);
  void remove_arena(Arenas::iterator arena) TUTTI_REQUIRES(mutex_);
  uintptr_t carve(size_t bytes, size_t alignment) TUTTI_REQUIRES(mutex_);
  Arenas::iterator arena_of(uintptr_t at) TUTTI_REQUIRES(mutex_);
  Result<bool> is_ours(uintptr_t low, uintptr_t high) TUTTI_REQUIRES(mutex_);
  Status replace(Arena* arena, uintptr_t low, uintptr_t high) TUTTI_REQUIRES(mutex_);
  Status split(Arena* arena, uint32_t slot, uintptr_t low, uintptr_t high) TUTTI_REQUIRES(mutex_);

  MemoryNodes nodes_;
  std::array<Slot, kMaxRegions> slots_;
  std::atomic<uint32_t> used_{0};  // slots below this have been in use
  std::atomic<uint64_t> detaches_{0};
  mutable Mutex mutex_;
  std::map<uint32_t, Region> regions_ TUTTI_GUARDED_BY(mutex_);     // by slot
  Arenas arenas_ TUTTI_GUARDED_BY(mutex_);                          // by start
  std::map<uintptr_t, size_t> allocated_ TUTTI_GUARDED_BY(mutex_);  // bytes, by start
  uint32_t generations_ TUTTI_GUARDED_BY(mutex_) = 0;
  uint64_t forks_ TUTTI_GUARDED_BY(mutex_) = 0;
  bool forking_ TUTTI_GUARDED_BY(mutex_) = false;
};

}  // namespace tutti
