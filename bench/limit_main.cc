// tutti-bench-limit: the limit by itself: flag barrier and direct all-reduce of two threads.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "bench/limit.h"

int main() {
  constexpr size_t kLargest = size_t{16} << 20;  // floats
  float* in[2];
  float* out[2];
  for (int r = 0; r < 2; ++r) {
    in[r] = static_cast<float*>(std::aligned_alloc(4096, kLargest * sizeof(float)));
    out[r] = static_cast<float*>(std::aligned_alloc(4096, kLargest * sizeof(float)));
    for (size_t i = 0; i < kLargest; ++i) in[r][i] = out[r][i] = 1.0f;
  }
  limit::FlagBarrier barrier;
  std::printf("%10s %12s %12s\n", "bytes", "cached us", "streaming us");
  for (size_t count = 16; count <= kLargest; count *= 4) {
    const int iterations = count < (1u << 18) ? 2000 : 10;
    double us[2];
    for (int streaming = 0; streaming < 2; ++streaming) {
      const auto work = [&](int self) {
        for (int i = 0; i < iterations; ++i) {
          limit::all_reduce_direct(barrier, self, in, out, count, streaming != 0);
        }
      };
      const auto begin = std::chrono::steady_clock::now();
      std::thread other(work, 1);
      work(0);
      other.join();
      const std::chrono::duration<double, std::micro> spent =
          std::chrono::steady_clock::now() - begin;
      us[streaming] = spent.count() / iterations;
    }
    std::printf("%10zu %12.2f %12.2f\n", count * sizeof(float), us[0], us[1]);
  }
  for (int r = 0; r < 2; ++r) {
    std::free(in[r]);
    std::free(out[r]);
  }
  return 0;
}
