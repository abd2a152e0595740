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
#include <cstdint>
#include <mutex>

#include "comm/base/clock.h"
#include "comm/base/membarrier.h"

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

// Whose address tells threads apart: one instruction, where pthread_self() is a call.
__attribute__((tls_model("initial-exec"))) extern constinit thread_local char thread_mark;

// For what nearly always the same thread takes, on the path of every operation: that one, the first
// to come, pays a store to lock and a store to unlock, and no fence, which would wait for all it
// has stored for its peers. The first other thread that comes makes all threads of the process pass
// a barrier (membarrier.h) and ends the privilege for good: from then on it is an ordinary lock.
// Who finds it taken waits up the ladder (wait.h). (Biased locking: Kawachiya, Koseki, Onodera,
// "Lock reservation", OOPSLA 2002.)
class TUTTI_CAPABILITY("mutex") BiasedMutex {
 public:
  BiasedMutex() : mode_(has_process_barrier() ? Mode::kOneThread : Mode::kShared) {}
  BiasedMutex(const BiasedMutex&) = delete;
  BiasedMutex& operator=(const BiasedMutex&) = delete;

  void lock() TUTTI_ACQUIRE() {
    if (!try_lock_own()) lock_slowly();
  }
  bool try_lock() TUTTI_TRY_ACQUIRE(true) { return try_lock_own() || try_lock_shared(); }
  void unlock() TUTTI_RELEASE() {
    const bool own = owner_.load(std::memory_order_relaxed) == &thread_mark &&
                     inside_.load(std::memory_order_relaxed);
    (own ? inside_ : taken_).store(false, std::memory_order_release);
  }

 private:
  enum class Mode : uint8_t { kOneThread, kEnding, kShared };

  bool try_lock_own() {
    if (owner_.load(std::memory_order_relaxed) != &thread_mark ||
        mode_.load(std::memory_order_relaxed) != Mode::kOneThread ||
        inside_.load(std::memory_order_acquire)) {
      return false;
    }
    inside_.store(true, std::memory_order_relaxed);
    light_barrier();  // pairs with the process_barrier() in try_lock_shared()
    if (mode_.load(std::memory_order_acquire) == Mode::kOneThread) return true;
    inside_.store(false, std::memory_order_release);
    return false;
  }
  bool try_lock_shared();
  void lock_slowly();

  std::atomic<const char*> owner_{nullptr};  // the first to come
  std::atomic<bool> inside_{false};          // it is, by its privilege
  std::atomic<Mode> mode_;
  std::atomic<bool> taken_{false};  // the ordinary lock
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
