// tutti-bench-inproc: all-reduce of two ranks as threads, beside the limit of the machine, in
// turns.
//
// Batches of both alternate; a batch is timed by its slower thread; the figure is the median of the
// batches. The limit takes the faster of cached and streaming stores at each size. Every result is
// checked. Output: one row a size; --json FILE for the same as data.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pthread.h>
#include <sched.h>
#include <thread>
#include <vector>

#include "tutti/tutti.h"

#include "bench/limit.h"

namespace {

double now_us() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(core), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

void require(tuttiResult_t result) {
  if (result == tuttiSuccess) return;
  std::fprintf(stderr, "tutti: %s: %s\n", tuttiGetErrorString(result), tuttiGetLastError(nullptr));
  std::exit(1);
}

enum Kind { kFlags, kLimitCached, kLimitStreaming, kTutti, kNumKinds };

struct Case {
  size_t count;
  int iterations;
  int batches;
};

struct Shared {
  limit::FlagBarrier start;
  limit::FlagBarrier flags;
  tuttiComm_t comms[2];
  float* in[2];
  float* out[2];
  double elapsed[2];
  std::vector<double> batches[kNumKinds];
  long wrong = 0;
};

void one(Shared& s, int self, Kind kind, size_t count) {
  switch (kind) {
    case kFlags:
      s.flags.wait(self);
      return;
    case kTutti:
      require(tuttiAllReduce(s.in[self], s.out[self], count, tuttiFloat32, tuttiSum, s.comms[self],
                             nullptr));
      return;
    default:
      limit::all_reduce_direct(s.flags, self, s.in, s.out, count, kind == kLimitStreaming);
  }
}

void run_rank(Shared& s, int self, const Case& c) {
  pin(self);
  for (size_t i = 0; i < c.count; ++i) {
    s.in[self][i] = static_cast<float>(i % 1000 + static_cast<size_t>(self));
  }
  for (int batch = -1; batch < c.batches; ++batch) {  // batch -1 warms up
    for (int kind = 0; kind < kNumKinds; ++kind) {
      std::memset(s.out[self], 0, std::min<size_t>(c.count, 16) * sizeof(float));
      s.start.wait(self);
      const double begin = now_us();
      for (int i = 0; i < c.iterations; ++i) one(s, self, static_cast<Kind>(kind), c.count);
      s.elapsed[self] = (now_us() - begin) / c.iterations;
      s.start.wait(self);
      if (self == 0 && batch >= 0) {
        s.batches[kind].push_back(std::max(s.elapsed[0], s.elapsed[1]));
        if (kind != kFlags) {
          for (size_t i = 0; i < c.count; ++i) {
            s.wrong += s.out[0][i] != static_cast<float>(2 * (i % 1000) + 1);
          }
        }
      }
      s.start.wait(self);
    }
  }
}

double median(std::vector<double>& v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

Case case_of(size_t bytes) {
  const size_t count = bytes / sizeof(float);
  const int iterations = static_cast<int>(std::clamp<size_t>(size_t{256} << 20, 1, SIZE_MAX) /
                                          std::max<size_t>(bytes, 32 * 1024) / 4);
  return {count, std::clamp(iterations, 3, 2000), 11};
}

}  // namespace

int main(int argc, char** argv) {
  std::FILE* json =
      argc == 3 && std::strcmp(argv[1], "--json") == 0 ? std::fopen(argv[2], "w") : nullptr;
  const size_t largest = size_t{64} << 20;
  Shared s;
  require(tuttiCommInitAll(s.comms, 2, nullptr));
  for (int r = 0; r < 2; ++r) {
    void* memory = nullptr;
    require(tuttiMemAlloc(&memory, largest));
    s.in[r] = static_cast<float*>(memory);
    require(tuttiMemAlloc(&memory, largest));
    s.out[r] = static_cast<float*>(memory);
  }
  std::printf("all_reduce f32 sum, 2 ranks as threads; us, medians of 11 interleaved batches\n");
  std::printf("%10s %10s %10s %10s %8s %6s\n", "bytes", "barrier", "limit", "tutti", "ratio",
              "wrong");
  if (json != nullptr) std::fprintf(json, "{\"rows\":[");
  bool first = true;
  for (size_t bytes :
       {size_t{8}, size_t{256}, size_t{4} << 10, size_t{16} << 10, size_t{64} << 10,
        size_t{256} << 10, size_t{1} << 20, size_t{4} << 20, size_t{16} << 20, size_t{64} << 20}) {
    const Case c = case_of(bytes);
    for (std::vector<double>& b : s.batches) b.clear();
    s.wrong = 0;
    std::thread other([&] { run_rank(s, 1, c); });
    std::thread mine([&] { run_rank(s, 0, c); });
    mine.join();
    other.join();
    const double flags = median(s.batches[kFlags]);
    const double bound =
        std::min(median(s.batches[kLimitCached]), median(s.batches[kLimitStreaming]));
    const double tutti = median(s.batches[kTutti]);
    std::printf("%10zu %10.3f %10.3f %10.3f %8.2f %6ld\n", bytes, flags, bound, tutti,
                tutti / bound, s.wrong);
    std::fflush(stdout);
    if (json != nullptr) {
      std::fprintf(
          json,
          "%s{\"bytes\":%zu,\"barrier_us\":%.4f,\"limit_us\":%.4f,\"tutti_us\":%.4f,\"wrong\":%ld}",
          first ? "" : ",", bytes, flags, bound, tutti, s.wrong);
    }
    first = false;
  }
  if (json != nullptr) {
    std::fprintf(json, "]}\n");
    std::fclose(json);
  }
  for (int r = 0; r < 2; ++r) {
    require(tuttiMemFree(s.in[r]));
    require(tuttiMemFree(s.out[r]));
    require(tuttiCommDestroy(s.comms[r]));
  }
  return 0;
}
