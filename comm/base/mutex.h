// Mutex, MutexLock, CondVar: the standard ones with annotations, so that clang's -Wthread-safety
// proves which mutex guards what. Annotate the data, not the comments:
//
//   Mutex mutex_;
//   std::vector<int> queue_ TUTTI_GUARDED_BY(mutex_);
//   void push_locked(int v) TUTTI_REQUIRES(mutex_);
//
// g++ ignores the annotations. The data path takes no locks.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "comm/base/clock.h"

#if defined(__clang__)
#define TUTTI_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define TUTTI_THREAD_ANNOTATION(x)
#endif

#define TUTTI_GUARDED_BY(m) TUTTI_THREAD_ANNOTATION(guarded_by(m))
#define TUTTI_PT_GUARDED_BY(m) TUTTI_THREAD_ANNOTATION(pt_guarded_by(m))
#define TUTTI_REQUIRES(...) TUTTI_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define TUTTI_EXCLUDES(...) TUTTI_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define TUTTI_CAPABILITY(name) TUTTI_THREAD_ANNOTATION(capability(name))
#define TUTTI_SCOPED_CAPABILITY TUTTI_THREAD_ANNOTATION(scoped_lockable)
#define TUTTI_ACQUIRE(...) TUTTI_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define TUTTI_TRY_ACQUIRE(...) TUTTI_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define TUTTI_NO_THREAD_CHECK TUTTI_THREAD_ANNOTATION(no_thread_safety_analysis)
#define TUTTI_RELEASE(...) TUTTI_THREAD_ANNOTATION(release_capability(__VA_ARGS__))

namespace tutti {

class TUTTI_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() TUTTI_ACQUIRE() { mutex_.lock(); }
  void unlock() TUTTI_RELEASE() { mutex_.unlock(); }
  bool try_lock() TUTTI_TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

// For what is free nearly always when it is asked for, on the path of every operation: one exchange
// to lock, a store to unlock. Who finds it taken waits up the ladder (wait.h).
class TUTTI_CAPABILITY("mutex") LadderMutex {
 public:
  LadderMutex() = default;
  LadderMutex(const LadderMutex&) = delete;
  LadderMutex& operator=(const LadderMutex&) = delete;

  void lock() TUTTI_ACQUIRE() {
    if (!taken_.exchange(true, std::memory_order_acquire)) return;
    lock_slowly();
  }
  void unlock() TUTTI_RELEASE() { taken_.store(false, std::memory_order_release); }
  bool try_lock() TUTTI_TRY_ACQUIRE(true) {
    return !taken_.load(std::memory_order_relaxed) &&
           !taken_.exchange(true, std::memory_order_acquire);
  }

 private:
  void lock_slowly();
  std::atomic<bool> taken_{false};
};

// Holds a mutex of either kind for a scope.
template <typename Kind>
class TUTTI_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Kind& mutex) TUTTI_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() TUTTI_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Kind& mutex_;
};

// Waits may end early for no reason: wait in a loop that checks the guarded condition.
class CondVar {
 public:
  CondVar() = default;
  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  // False when the deadline passed, true when woken.
  bool wait(Mutex& mutex, Deadline deadline) TUTTI_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    bool woken = true;
    if (deadline.is_never()) {
      cond_.wait(lock);
    } else {
      // steady_clock is CLOCK_MONOTONIC, the clock of now_ns().
      const std::chrono::steady_clock::time_point at{std::chrono::nanoseconds(deadline.at_ns())};
      woken = cond_.wait_until(lock, at) == std::cv_status::no_timeout;
    }
    lock.release();  // the caller holds the mutex again and goes on holding it
    return woken;
  }

  void notify_one() { cond_.notify_one(); }
  void notify_all() { cond_.notify_all(); }

 private:
  std::condition_variable cond_;
};

}  // namespace tutti
