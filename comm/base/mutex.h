// Mutex, MutexLock, CondVar: the standard ones with annotations, so that clang's -Wthread-safety
// proves which mutex guards what. Annotate the data, not the comments:
//
//   Mutex mutex_;
//   std::vector<int> queue_ TUTTI_GUARDED_BY(mutex_);
//   void push_locked(int v) TUTTI_REQUIRES(mutex_);
//
// g++ ignores the annotations. Nothing here is for the data path, which takes no locks.
#pragma once

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

// Holds a mutex for a scope.
class TUTTI_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) TUTTI_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() TUTTI_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
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
