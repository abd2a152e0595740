// What this program has asked of the allocator and of mutexes since it began, whoever in it did:
// it brings its own malloc and pthread_mutex_lock, which count and forward. Not under sanitizers,
// which bring theirs. Any thread.
#pragma once

#include <cstdint>

namespace tutti {

struct Asked {
  uint64_t allocations;  // malloc and its kin; operator new calls it
  uint64_t frees;
  uint64_t locks;  // of mutexes and rwlocks, contended or not
};
Asked asked();

}  // namespace tutti
