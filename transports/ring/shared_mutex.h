// SharedMutex: a lock in memory that processes share. Zero-filled memory is no lock: init() first.
//
// Survives the death of whoever holds it, and nobody waits for it for long: a process that was
// stopped while it held the lock costs each of the others kPatienceNs. Any thread of any process
// that maps it. Never copied, never destroyed: it goes with its memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <pthread.h>

#include "comm/base/status.h"

namespace tutti {

class SharedMutex {
 public:
  static constexpr int64_t kPatienceNs = 2'000'000'000;

  Status init();
  // False when it could not be had in time; then nothing is locked.
  bool lock(int64_t patience_ns);
  void unlock();

 private:
  pthread_mutex_t mutex_;
};

// Holds a SharedMutex, or does not when it could not be had.
class SharedLock {
 public:
  // `stuck`: whether it could not be had last time, and so is not waited for again.
  SharedLock(SharedMutex& mutex, std::atomic<bool>& stuck)
      : mutex_(mutex), held_(mutex.lock(stuck.load() ? 0 : SharedMutex::kPatienceNs)) {
    stuck.store(!held_);
  }
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
