// The limit of two ranks on one host: what the memory system allows, with no library in between.
// Stand-alone on purpose: nothing of Tutti is used here.
#pragma once

#include <atomic>
#include <cstddef>

namespace limit {

// A barrier of two threads on two flags, each in a cache line of its own.
class FlagBarrier {
 public:
  void wait(int self) {
    const unsigned round = ++rounds_[self].value;
    flags_[self].value.store(round, std::memory_order_release);
    while (flags_[1 - self].value.load(std::memory_order_acquire) < round) __builtin_ia32_pause();
  }

 private:
  struct alignas(64) Flag {
    std::atomic<unsigned> value{0};
  };
  struct alignas(64) Round {
    unsigned value = 0;
  };
  Flag flags_[2];
  Round rounds_[2];
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
