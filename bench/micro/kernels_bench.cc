// Speed of the reduction kernels against copies of the same bytes, interleaved in one process.
//
//   kernels_bench [--benchmark_filter=...] [--bytes=N] [--target=AVX2]
//
// Memory speed of a shared machine drifts by tens of percent within minutes, so a ratio only means
// something between neighbours in time: each row runs, in turn and several times, the kernel and
// the two copies (memcpy, and a loop with the same kind of stores), and reports medians of the
// paired ratios. Bytes are those loaded and stored: 3 per byte of result for a sum of two, 2 for a
// copy. `vs_memcpy` and `vs_copy_loop` are ratios of bytes per second.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "bench/micro/paired.h"
#include "comm/device/kernels.h"
#include "comm/device/simd_target.h"

namespace tutti {
namespace {

struct Case {
  DataType dtype;
  int nsrc;
  int ndst;
  Stores stores;
  bool in_place;
  size_t bytes;  // of one array
};

// One iteration: kernel, memcpy, copy loop, each `repeats` times (small arrays stay in cache).
void run_case(benchmark::State& state, const Case& c) {
  std::vector<Memory> arrays;
  arrays.reserve(static_cast<size_t>(c.nsrc) + static_cast<size_t>(c.ndst));
  for (int i = 0; i < c.nsrc + c.ndst; ++i) arrays.emplace_back(c.bytes);
  std::vector<const void*> src;
  std::vector<void*> dst;
  for (int i = 0; i < c.nsrc; ++i) src.push_back(arrays[static_cast<size_t>(i)].data());
  for (int i = 0; i < c.ndst; ++i)
    dst.push_back(arrays[static_cast<size_t>(c.nsrc) + static_cast<size_t>(i)].data());
  void* const copy_to = dst[0];
  if (c.in_place) dst[0] = arrays[0].data();

  const int repeats = static_cast<int>(std::max<size_t>(1, (size_t{32} << 20) / c.bytes));
  const ReduceCall call{src.data(), c.nsrc,         dst.data(), c.ndst,  c.bytes / size_of(c.dtype),
                        c.dtype,    ReduceOp::kSum, 0,          c.stores};
  const double kernel_bytes = static_cast<double>(c.bytes) * (c.nsrc + c.ndst);
  const double copy_bytes = static_cast<double>(c.bytes) * 2;
  std::vector<double> kernel_rate;
  std::vector<double> vs_memcpy;
  std::vector<double> vs_loop;
  for (auto _ : state) {
    const double kernel = kernel_bytes / time_of(repeats, [&] { reduce(call); });
    const double libc =
        copy_bytes / time_of(repeats, [&] { std::memcpy(copy_to, src[0], c.bytes); });
    const double loop =
        copy_bytes / time_of(repeats, [&] { copy(src[0], &copy_to, 1, c.bytes, c.stores); });
    kernel_rate.push_back(kernel);
    vs_memcpy.push_back(kernel / libc);
    vs_loop.push_back(kernel / loop);
  }
  const double rate = median(kernel_rate);
  state.counters["GB/s"] = rate / 1e9;
  state.counters["memcpy_GB/s"] = rate / median(vs_memcpy) / 1e9;
  state.counters["copy_GB/s"] = rate / median(vs_loop) / 1e9;
  state.counters["vs_memcpy"] = median(vs_memcpy);
  state.counters["vs_copy_loop"] = median(vs_loop);
}

void add(const Case& c) {
  std::string name = std::string("sum/") + name_of(c.dtype) + "/src" + std::to_string(c.nsrc) +
                     "/dst" + std::to_string(c.ndst) +
                     (c.stores == Stores::kStreaming ? "/streaming" : "/cached") +
                     (c.in_place ? "/in_place" : "") + "/" + std::to_string(c.bytes);
  benchmark::RegisterBenchmark(name.c_str(), [c](benchmark::State& s) { run_case(s, c); })
      ->Iterations(7)
      ->Unit(benchmark::kMillisecond);
}

// Copies: kernel is copy() itself.
void run_copy(benchmark::State& state, size_t bytes, Stores stores) {
  const Memory from(bytes);
  const Memory to(bytes);
  void* dst = to.data();
  const int repeats = static_cast<int>(std::max<size_t>(1, (size_t{32} << 20) / bytes));
  std::vector<double> ours_rate;
  std::vector<double> vs_memcpy;
  for (auto _ : state) {
    const double ours = 2.0 * static_cast<double>(bytes) /
                        time_of(repeats, [&] { copy(from.data(), &dst, 1, bytes, stores); });
    const double libc = 2.0 * static_cast<double>(bytes) /
                        time_of(repeats, [&] { std::memcpy(dst, from.data(), bytes); });
    ours_rate.push_back(ours);
    vs_memcpy.push_back(ours / libc);
  }
  state.counters["GB/s"] = median(ours_rate) / 1e9;
  state.counters["memcpy_GB/s"] = median(ours_rate) / median(vs_memcpy) / 1e9;
  state.counters["vs_memcpy"] = median(vs_memcpy);
}

void add_copy(size_t bytes, Stores stores) {
  const std::string name = std::string("copy/") +
                           (stores == Stores::kStreaming ? "streaming/" : "cached/") +
                           std::to_string(bytes);
  benchmark::RegisterBenchmark(name.c_str(),
                               [=](benchmark::State& s) { run_copy(s, bytes, stores); })
      ->Iterations(7)
      ->Unit(benchmark::kMillisecond);
}

void add_all(size_t large) {
  for (size_t bytes : {size_t{4} << 10, size_t{256} << 10, size_t{4} << 20, size_t{64} << 20}) {
    add_copy(bytes, Stores::kCached);
  }
  add_copy(size_t{64} << 20, Stores::kStreaming);
  add_copy(large, Stores::kStreaming);

  const DataType types[] = {DataType::kFloat32, DataType::kBfloat16, DataType::kFloat16,
                            DataType::kInt32};
  for (DataType dtype : types) {
    for (Stores stores : {Stores::kStreaming, Stores::kCached}) {
      add({dtype, 2, 1, stores, false, large});
    }
    add({dtype, 2, 1, Stores::kCached, true, large});
    add({dtype, 2, 2, Stores::kStreaming, false, large});
    for (size_t bytes : {size_t{16} << 10, size_t{256} << 10, size_t{4} << 20}) {
      add({dtype, 2, 1, Stores::kCached, false, bytes});
    }
  }
  for (DataType dtype : {DataType::kFloat8e4m3, DataType::kFloat8e5m2, DataType::kFloat64}) {
    add({dtype, 2, 1, Stores::kStreaming, false, large});
  }
  add({DataType::kFloat32, 8, 1, Stores::kStreaming, false, large / 4});
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  size_t large = size_t{1} << 30;
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg.substr(0, 8) == "--bytes=") {
      large = std::strtoull(argv[i] + 8, nullptr, 10);
    } else if (arg.substr(0, 9) == "--target=" && tutti::force_simd_target(arg.substr(9))) {
      continue;
    } else {
      std::fprintf(stderr, "bad argument %s\n", argv[i]);
      return 1;
    }
  }
  benchmark::AddCustomContext("simd_target", tutti::simd_target());
  tutti::add_all(large);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
