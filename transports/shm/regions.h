// The memory of an endpoint that peers may map, by slot: a stretch of a segment each.
//
// An allocation is one region at first. Where a peer that does not come out of a kernel may still
// write, its pages are replaced (detach()): they become a region of a segment of their own, what
// lies behind them another one. Looking up an address takes no lock and may be done by any thread
// while others add or remove: a slot's generation is 0 while it is being changed, and never the
// same twice.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/base/status.h"
#include "transports/shm/segment.h"

namespace tutti {

inline constexpr uint32_t kMaxRegions = 1024;

// Where a stretch of memory is: generation 0 for memory in no region.
struct RegionPlace {
  uint32_t slot = 0;
  uint32_t generation = 0;
  uint64_t offset = 0;
};

// What a peer needs to map a region: a stretch of the file behind `fd`, -1 for none.
struct RegionFile {
  int fd = -1;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

class OwnRegions {
 public:
  OwnRegions() = default;
  OwnRegions(const OwnRegions&) = delete;
  OwnRegions& operator=(const OwnRegions&) = delete;

  // Zeros, for as long as nobody removes them. kOutOfMemory, also when there are kMaxRegions.
  Result<void*> add(size_t bytes);
  // `base` as add() gave it; peers see zeros there from now on. False when it is none of ours.
  bool remove(void* base);

  // Puts other memory of the same contents under the pages that hold the range. Nobody but peers
  // whose writes are to be lost may be writing to these pages. kOutOfMemory: nothing has changed.
  Status detach(void* base, size_t bytes);
  uint64_t detaches() const { return detaches_.load(std::memory_order_acquire); }
  // Whether the range, in one allocation, has lost pages since detaches() was `since`.
  bool is_detached(const void* base, size_t bytes, uint64_t since) const;

  RegionPlace find(const void* base, size_t bytes) const;
  // Valid until the region is removed.
  RegionFile file(uint32_t slot, uint32_t generation) const;

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
  struct Allocation {
    uintptr_t end;
    std::vector<uint32_t> slots;
    std::vector<Range> detached;
  };

  Result<uint32_t> take_slot(Region region, uintptr_t base, uint64_t bytes) TUTTI_REQUIRES(mutex_);
  Allocation* allocation_of(uintptr_t at) TUTTI_REQUIRES(mutex_);
  Status replace(Allocation* allocation, uintptr_t low, uintptr_t high) TUTTI_REQUIRES(mutex_);
  Status split(Allocation* allocation, uint32_t slot, uintptr_t low, uintptr_t high)
      TUTTI_REQUIRES(mutex_);

  std::array<Slot, kMaxRegions> slots_;
  std::atomic<uint32_t> used_{0};  // slots below this have been in use
  std::atomic<uint64_t> detaches_{0};
  mutable Mutex mutex_;
  std::map<uint32_t, Region> regions_ TUTTI_GUARDED_BY(mutex_);           // by slot
  std::map<uintptr_t, Allocation> allocations_ TUTTI_GUARDED_BY(mutex_);  // by base
  uint32_t generations_ TUTTI_GUARDED_BY(mutex_) = 0;
};

}  // namespace tutti
