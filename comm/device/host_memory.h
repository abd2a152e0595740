// HostMemory: what mem_alloc of the host device handed out, so that interior pointers can be traced
// back and a copy over the end is refused. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "comm/base/mutex.h"

namespace tutti {

class HostMemory {
 public:
  struct Range {
    void* base;
    size_t bytes;
  };

  HostMemory() = default;
  ~HostMemory();
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  // Page-aligned; null when there is none.
  void* allocate(size_t bytes);
  bool release(void* p);  // false: not the start of an allocation
  // The allocation that contains the byte at `p`.
  std::optional<Range> find(const void* p) const;
  // Whether [p, p + bytes) does not run over the end of the allocation that it begins in.
  bool fits(const void* p, size_t bytes) const;

 private:
  mutable Mutex mutex_;
  std::map<uintptr_t, size_t> ranges_ TUTTI_GUARDED_BY(mutex_);  // start -> bytes
};

}  // namespace tutti
