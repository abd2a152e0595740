// Speed of the kernels on rows against copies of the same bytes, interleaved in one process.
//
//   rows_bench [--benchmark_filter=...] [--target=AVX2]
//
// Rows of 7168 bf16 in an order that no prefetcher guesses, each read once: 16384 of them (224 MiB)
// come from memory, 8 (112 KiB) from the second cache. Bytes are those loaded and stored. In turn
// with the kernel run memcpy over as many rows in their order in memory, as one block, and memcpy
// row by row in the order of the kernel; `vs_memcpy` and `vs_row_loop` are medians of the paired
// ratios of bytes per second.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bench/micro/paired.h"
#include "comm/device/row_copy.h"
#include "comm/device/row_quantise.h"
#include "comm/device/row_sum.h"
#include "comm/device/simd_target.h"

namespace tutti {
namespace {

constexpr size_t kHidden = 7168;
constexpr size_t kRowBytes = 2 * kHidden;
constexpr size_t kFromMemory = 16384;  // rows
constexpr size_t kFromCache = 8;
constexpr size_t kRowsATurn = 4096;  // at least

// Rows, where they go, and their order.
struct Rows {
  explicit Rows(size_t rows)
      : n(rows),
        repeats(static_cast<int>(std::max<size_t>(1, kRowsATurn / rows))),
        src(rows * kRowBytes),
        dst(rows * kRowBytes),
        scales(rows * kHidden / kRowQuantBlock * sizeof(float)),
        order(rows) {
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(5));
  }
  SourceRows source() const { return {src.data(), kRowBytes, order.data()}; }

  size_t n;
  int repeats;
  Memory src;
  Memory dst;
  Memory scales;
  std::vector<int32_t> order;
};

using Work = std::function<void()>;

// `bytes`: what one run of `work` loads and stores.
void measure(benchmark::State& state, const Rows& rows, double bytes, const Work& work) {
  const double copied = 2.0 * static_cast<double>(rows.n * kRowBytes);
  std::vector<double> rates;
  std::vector<double> vs_memcpy;
  std::vector<double> vs_row_loop;
  const SourceRows source = rows.source();
  for (auto _ : state) {
    const double rate = bytes / time_of(rows.repeats, work);
    const double block = copied / time_of(rows.repeats, [&] {
                           std::memcpy(rows.dst.data(), rows.src.data(), rows.n * kRowBytes);
                         });
    const double loop = copied / time_of(rows.repeats, [&] {
                          for (size_t i = 0; i < rows.n; ++i) {
                            std::memcpy(rows.dst.data() + i * kRowBytes, source[i], kRowBytes);
                          }
                        });
    rates.push_back(rate);
    vs_memcpy.push_back(rate / block);
    vs_row_loop.push_back(rate / loop);
  }
  state.counters["GB/s"] = median(rates) / 1e9;
  state.counters["memcpy_GB/s"] = median(rates) / median(vs_memcpy) / 1e9;
  state.counters["vs_memcpy"] = median(vs_memcpy);
  state.counters["vs_row_loop"] = median(vs_row_loop);
}

void quantise(benchmark::State& state, RowQuant quant, size_t n, Stores stores) {
  const Rows rows(n);
  const size_t scale_bytes = scales_per_row(quant, kHidden) * sizeof(float);
  const QuantiseRows call{quant,
                          DataType::kBfloat16,
                          kHidden,
                          n,
                          rows.source(),
                          {rows.dst.data(), kHidden},
                          {rows.scales.data(), scale_bytes},
                          stores};
  measure(state, rows, static_cast<double>(n * (3 * kHidden + scale_bytes)),
          [&] { quantise_rows(call); });
}

void dequantise(benchmark::State& state, RowQuant quant, size_t n, Stores stores) {
  const Rows rows(n);
  const size_t scale_bytes = scales_per_row(quant, kHidden) * sizeof(float);
  const DequantiseRows call{quant,
                            DataType::kBfloat16,
                            kHidden,
                            n,
                            {rows.src.data(), kHidden, rows.order.data()},
                            {rows.scales.data(), scale_bytes},
                            {rows.dst.data(), kRowBytes},
                            stores};
  measure(state, rows, static_cast<double>(n * (3 * kHidden + scale_bytes)),
          [&] { dequantise_rows(call); });
}

// Sums of `terms` rows each; no row is read twice.
void sum(benchmark::State& state, size_t terms, size_t n, Stores stores) {
  const Rows rows(n);
  const std::vector<float> weights(terms, 0.125f);
  const SourceRows source = rows.source();
  std::vector<const void*> pointers;
  for (size_t i = 0; i < n; ++i) pointers.push_back(source[i]);
  std::vector<RowSum> sums;
  for (size_t i = 0; i < n / terms; ++i) {
    sums.push_back({&pointers[i * terms],
                    weights.data(),
                    static_cast<uint32_t>(terms),
                    {},
                    rows.dst.data() + i * kRowBytes});
  }
  const RowSumFormat format{DataType::kBfloat16, DataType::kBfloat16, kHidden, stores};
  measure(state, rows, static_cast<double>(sums.size() * (terms + 1) * kRowBytes),
          [&] { sum_rows(sums.data(), sums.size(), format); });
}

void copy(benchmark::State& state, size_t bytes, size_t n, Stores stores) {
  const Rows rows(n);
  const SourceRows source{rows.src.data(), bytes, rows.order.data()};
  measure(state, rows, 2.0 * static_cast<double>(n * bytes), [&] {
    copy_rows({rows.dst.data(), bytes}, source, n, bytes, stores);
  });
}

void zero(benchmark::State& state, size_t n) {
  const Rows rows(n);
  measure(state, rows, static_cast<double>(n * kRowBytes), [&] {
    zero_rows({rows.dst.data(), kRowBytes}, n, kRowBytes);
  });
}

template <typename Body>
void add(const std::string& name, Body body) {
  for (const bool streaming : {true, false}) {
    for (const size_t n : {kFromMemory, kFromCache}) {
      if (streaming && n == kFromCache) continue;
      const Stores stores = streaming ? Stores::kStreaming : Stores::kCached;
      const std::string full =
          name + (n == kFromCache ? "/cache" : "/memory") + (streaming ? "/streaming" : "/cached");
      benchmark::RegisterBenchmark(full.c_str(), [=](benchmark::State& s) { body(s, n, stores); })
          ->Iterations(7)
          ->Unit(benchmark::kMillisecond);
    }
  }
}

void add_all() {
  using State = benchmark::State;
  const std::pair<RowQuant, std::string> kinds[] = {{RowQuant::kFp8Block128, "fp8"},
                                                    {RowQuant::kFp8Block128Pow2, "fp8_pow2"},
                                                    {RowQuant::kInt8Token, "int8"}};
  for (const auto& kind : kinds) {
    const RowQuant quant = kind.first;
    add("quantise/" + kind.second,
        [=](State& s, size_t n, Stores stores) { quantise(s, quant, n, stores); });
    add("dequantise/" + kind.second,
        [=](State& s, size_t n, Stores stores) { dequantise(s, quant, n, stores); });
  }
  for (const size_t terms : {5, 8}) {
    add("sum/" + std::to_string(terms),
        [=](State& s, size_t n, Stores stores) { sum(s, terms, n, stores); });
  }
  for (const size_t bytes : {kRowBytes, size_t{1024}}) {
    add("copy/" + std::to_string(bytes),
        [=](State& s, size_t n, Stores stores) { copy(s, bytes, n, stores); });
  }
  add("zero", [](State& s, size_t n, Stores /*stores*/) { zero(s, n); });
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg.substr(0, 9) == "--target=" && tutti::force_simd_target(arg.substr(9))) continue;
    std::fprintf(stderr, "bad argument %s\n", argv[i]);
    return 1;
  }
  benchmark::AddCustomContext("simd_target", tutti::simd_target());
  tutti::add_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
