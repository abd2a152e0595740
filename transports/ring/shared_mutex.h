// SharedMutex: a lock in memory that processes share. Zero-filled memory is no lock: init() first.
//
// Survives the death of whoever holds it, and nobody waits for it for long: a process that was
// stopped while it held the lock costs the others kPatienceNs, once per attempt. Any thread of any
// process that maps it. Never copied, never destroyed: it goes with its memory.
#pragma once

#include <cstdint>
#include <pthread.h>

#include "comm/base/status.h"

namespace tutti {

class SharedMutex {
 public:
  static constexpr int64_t kPatienceNs = 2'000'000'000;

  Status init();
  // False when it could not be had in time; then nothing is locked.
  bool lock();
  void unlock();

 private:
  pthread_mutex_t mutex_;
};

// Holds a SharedMutex, or does not when it could not be had.
class SharedLock {
 public:
  explicit SharedLock(SharedMutex& mutex) : mutex_(mutex), held_(mutex.lock()) {}
  ~SharedLock() {
    if (held_) mutex_.unlock();
  }
  SharedLock(const SharedLock&) = delete;
  SharedLock& operator=(const SharedLock&) = delete;
  bool held() const { return held_; }

 private:
  SharedMutex& mutex_;
  const bool held_;
};

}  // namespace tutti
