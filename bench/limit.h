// The limit of two ranks on one host: what the memory system allows, with no library in between.
// Stand-alone on purpose: nothing of Tutti is used here.
#pragma once

#include <atomic>
#include <cstddef>
#include <sched.h>

namespace limit {

// A barrier of a few threads on flags, each in a cache line of its own. Who waits long lets others
// run: there may be more threads than processors.
class FlagBarrier {
 public:
  static constexpr int kMaxThreads = 64;
  explicit FlagBarrier(int nthreads = 2) : nthreads_(nthreads) {}

  void wait(int self) {
    const unsigned round = ++rounds_[self].value;
    flags_[self].value.store(round, std::memory_order_release);  // pairs with the load below
    for (int other = 0; other < nthreads_; ++other) {
      int spins = 0;
      // Signed, so that the rounds may wrap: another thread is at most one ahead.
      while (static_cast<int>(flags_[other].value.load(std::memory_order_acquire) - round) < 0) {
        if (++spins < kSpins) {
          __builtin_ia32_pause();
        } else {
          sched_yield();
        }
      }
    }
  }

 private:
  static constexpr int kSpins = 200;  // some microseconds
  struct alignas(64) Flag {
    std::atomic<unsigned> value{0};
  };
  struct alignas(64) Round {
    unsigned value = 0;
  };
  int nthreads_;
  Flag flags_[kMaxThreads];
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
