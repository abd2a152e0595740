// What the benchmarks of kernels share: memory to work on, and times that other processes do not
// disturb.
#pragma once

#include <algorithm>
#include <benchmark/benchmark.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <sys/mman.h>
#include <vector>

namespace tutti {

// Touched pages of ordinary memory, huge where the system gives them.
class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_(bytes) {
    p_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p_ == MAP_FAILED) {
      std::perror("mmap");
      std::exit(1);
    }
    madvise(p_, bytes, MADV_HUGEPAGE);
    std::memset(p_, 0x3C, bytes);
  }
  ~Memory() {
    if (p_ != nullptr) munmap(p_, bytes_);
  }
  Memory(Memory&& other) noexcept : p_(other.p_), bytes_(other.bytes_) { other.p_ = nullptr; }
  Memory& operator=(Memory&&) = delete;
  uint8_t* data() const { return static_cast<uint8_t*>(p_); }

 private:
  void* p_;
  size_t bytes_;
};

// Processor time of this thread: the kernels wait for memory only, and another process that takes
// the core must not count.
inline double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <typename Work>
double time_of(int repeats, Work work) {
  const double start = seconds();
  for (int i = 0; i < repeats; ++i) {
    work();
    benchmark::ClobberMemory();
  }
  return (seconds() - start) / repeats;
}

inline double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<long>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

}  // namespace tutti
