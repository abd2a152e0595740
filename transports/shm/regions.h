// The memory of an endpoint that peers may map, by slot: one segment each.
//
// Looking up an address takes no lock and may be done by any thread while others add or remove: a
// slot's generation is 0 while it is being changed, and never the same twice.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>

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

class OwnRegions {
 public:
  OwnRegions() = default;
  OwnRegions(const OwnRegions&) = delete;
  OwnRegions& operator=(const OwnRegions&) = delete;

  // Zeros, for as long as nobody removes them. kOutOfMemory, also when there are kMaxRegions.
  Result<void*> add(size_t bytes);
  // `base` as add() gave it; peers see zeros there from now on. False when it is none of ours.
  bool remove(void* base);

  RegionPlace find(const void* base, size_t bytes) const;
  // The descriptor and length of a region, for a peer; -1 when it is no longer there. Valid until
  // it is removed.
  int descriptor(uint32_t slot, uint32_t generation, uint64_t* bytes) const;

 private:
  struct Slot {
    std::atomic<uint32_t> generation{0};
    std::atomic<uintptr_t> base{0};
    std::atomic<uint64_t> bytes{0};
  };

  std::array<Slot, kMaxRegions> slots_;
  std::atomic<uint32_t> used_{0};  // slots below this have been in use
  mutable Mutex mutex_;
  std::map<uint32_t, Segment> segments_ TUTTI_GUARDED_BY(mutex_);  // by slot
  uint32_t generations_ TUTTI_GUARDED_BY(mutex_) = 0;
};

}  // namespace tutti
