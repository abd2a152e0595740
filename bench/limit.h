// The limit of ranks on one host: what the memory system and the scheduler allow, with no library
// in between. Stand-alone on purpose: nothing of Tutti is used here.
#pragma once

#include <atomic>
#include <cstddef>
#include <sched.h>
#include <thread>

namespace limit {

inline constexpr int kMaxThreads = 64;

// Waits for flags that other threads raise. Who waits long lets others run, and at once where there
// are more threads than processors: whoever it waits for may need this one.
class FlagWait {
 public:
  explicit FlagWait(int nthreads)
      : spins_(static_cast<unsigned>(nthreads) <= std::thread::hardware_concurrency() ? kSpins
                                                                                      : 0) {}

  void until(const std::atomic<unsigned>& flag, unsigned round) const {
    int spins = 0;
    // Signed, so that the rounds may wrap: another thread is at most one ahead.
    while (static_cast<int>(flag.load(std::memory_order_acquire) - round) < 0) {
      if (++spins < spins_) {
        __builtin_ia32_pause();
      } else {
        sched_yield();
      }
    }
  }

 private:
  static constexpr int kSpins = 200;  // some microseconds
  int spins_;
};

struct alignas(64) Round {
  unsigned value = 0;
};

// A barrier of a few threads on flags, each in a cache line of its own.
class FlagBarrier {
 public:
  explicit FlagBarrier(int nthreads = 2) : nthreads_(nthreads), wait_(nthreads) {}

  void wait(int self) {
    const unsigned round = ++rounds_[self].value;
    flags_[self].value.store(round, std::memory_order_release);  // pairs with FlagWait::until
    for (int other = 0; other < nthreads_; ++other) wait_.until(flags_[other].value, round);
  }

 private:
  struct alignas(64) Flag {
    std::atomic<unsigned> value{0};
  };
  int nthreads_;
  FlagWait wait_;
  Flag flags_[kMaxThreads];
  Round rounds_[kMaxThreads];
};

// All-reduce of a few elements between any number of threads: what each brings lies beside its
// flag, and everybody adds all of it, so that one barrier is all it takes.
class FlagSum {
 public:
  static constexpr size_t kMostCount = 16;
  explicit FlagSum(int nthreads) : nthreads_(nthreads), wait_(nthreads) {}

  void run(int self, const float* in, float* out, size_t count) {
    const unsigned round = ++rounds_[self].value;
    // Of two in turns: when somebody is here again with one, all have read what it held.
    Flag* const flags = flags_[round % 2];
    for (size_t i = 0; i < count; ++i) flags[self].terms[i] = in[i];
    flags[self].round.store(round, std::memory_order_release);  // pairs with FlagWait::until
    for (int other = 0; other < nthreads_; ++other) wait_.until(flags[other].round, round);
    for (size_t i = 0; i < count; ++i) {
      float sum = flags[0].terms[i];
      for (int other = 1; other < nthreads_; ++other) sum += flags[other].terms[i];
      out[i] = sum;
    }
  }

 private:
  struct alignas(128) Flag {
    std::atomic<unsigned> round{0};
    float terms[kMostCount];
  };
  int nthreads_;
  FlagWait wait_;
  Flag flags_[2][kMaxThreads];
  Round rounds_[kMaxThreads];
};

// out_a[i] = out_b[i] = a[i] + b[i]: one pass over memory. `streaming`: results past the caches.
void reduce_direct(const float* a, const float* b, float* out_a, float* out_b, size_t count,
                   bool streaming);

// All-reduce of two buffers that both threads can address: each does one half for both.
inline void all_reduce_direct(FlagBarrier& barrier, int self, float* const in[2],
                              float* const out[2], size_t count, bool streaming) {
  barrier.wait(self);
  const size_t half = count / 2 / 16 * 16;
  const size_t first = self == 0 ? 0 : half;
  const size_t n = self == 0 ? half : count - half;
  reduce_direct(in[0] + first, in[1] + first, out[0] + first, out[1] + first, n, streaming);
  barrier.wait(self);
}

}  // namespace limit
