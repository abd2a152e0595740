// Registrations: the handles of memory that callers register with a transport that has nothing to
// prepare for it. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_set>

#include "comm/base/mutex.h"
#include "comm/base/status.h"

namespace tutti {

class Registrations {
 public:
  // Transport and endpoint, for texts. `transport` is of static storage.
  Registrations(const char* transport, int number) : transport_(transport), number_(number) {}

  // A handle that was never given out before. kInvalidArgument for no memory or a range that wraps.
  Status add(void* base, size_t bytes, uint64_t* handle) {
    if (base == nullptr || bytes == 0 || bytes > UINTPTR_MAX - reinterpret_cast<uintptr_t>(base)) {
      return error(Code::kInvalidArgument, "%s %d: cannot register %zu bytes at %p", transport_,
                   number_, bytes, base);
    }
    MutexLock lock(mutex_);
    *handle = next_++;
    open_.insert(*handle);
    return Status();
  }

  Status remove(uint64_t handle) {
    MutexLock lock(mutex_);
    if (open_.erase(handle) == 1) return Status();
    return error(Code::kInvalidArgument, "%s %d: registration %llu is unknown", transport_, number_,
                 static_cast<unsigned long long>(handle));
  }

 private:
  const char* const transport_;
  const int number_;
  Mutex mutex_;
  std::unordered_set<uint64_t> open_ TUTTI_GUARDED_BY(mutex_);
  uint64_t next_ TUTTI_GUARDED_BY(mutex_) = 1;
};

}  // namespace tutti
