// Weighted sums of rows: f32 accumulators of a few hundred bytes of the result stay in registers
// while all its rows pass by.
#include "comm/device/row_sum.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "comm/base/check.h"
#include "comm/device/fp_environment.h"
#include "comm/device/simd_config.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/device/row_sum.cc"
#include <hwy/foreach_target.h>  // NOLINT: includes this file once per target
#include <hwy/highway.h>

#include "comm/device/float_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE VF32 add(VF32 a, VF32 b) { return hn::Add(a, b); }
HWY_INLINE VF32 add_product(VF32 acc, VF32 w, VF32 x) { return hn::Add(acc, hn::Mul(w, x)); }

#if TUTTI_BFLOAT16_PAIRS
using Pair = Bfloat16Lane::Pair;
HWY_INLINE Pair add(Pair a, Pair b) { return {add(a.even, b.even), add(a.odd, b.odd)}; }
HWY_INLINE Pair add_product(Pair acc, VF32 w, Pair x) {
  return {add_product(acc.even, w, x.even), add_product(acc.odd, w, x.odd)};
}
#endif

// A weight of 1 is no weight: the product is exact.
HWY_INLINE VF32 weight_of(const RowSum& sum, uint32_t i) {
  return hn::Set(F32(), sum.weights == nullptr ? 1.0f : sum.weights[i]);
}

// What is asked for lies this many bytes ahead in each row, at the end of it in the row that takes
// its place in the next sum: the processor fetches ahead by itself, but too late for several rows
// at once, and not from row to row.
constexpr size_t kAhead = 2048;

// In and Out are the lanes of the types, with accumulators of one form.
template <class In, class Out>
class Summer {
 public:
  // `next`: the sum after this one, or this one. `hidden`: elements of a row.
  Summer(const RowSum& sum, const RowSum& next, size_t hidden)
      : sum_(sum), next_(next), row_bytes_(hidden * In::kBytes) {}

  // Elements [begin, end), in blocks of four vectors.
  HWY_INLINE void run(size_t begin, size_t end, bool streaming) const {
    const size_t step = out_.lanes();
    size_t i = begin;
    if (streaming) {
      for (; i + 4 * step <= end; i += 4 * step) block<true>(i);
    } else {
      for (; i + 4 * step <= end; i += 4 * step) block<false>(i);
    }
    for (; i < end; i += step) partial(i, std::min(step, end - i));
  }

 private:
  // What the sum of the vector at element `at` starts from.
  HWY_INLINE auto start(size_t at) const {
    const size_t offset = at * Out::kBytes;
    const void* first = sum_.bias[0];
    const void* second = sum_.bias[1];
    if (first == nullptr) std::swap(first, second);
    if (first == nullptr) {
      HWY_ALIGN static constexpr uint8_t kZeros[HWY_MAX_BYTES] = {};
      return out_.load(kZeros);
    }
    const auto acc = out_.load(bytes_of(first) + offset);
    if (second == nullptr) return acc;
    return add(acc, out_.load(bytes_of(second) + offset));
  }

  template <bool kStreaming>
  HWY_INLINE void block(size_t at) const {
    const size_t n = out_.lanes();
    const size_t step = n * In::kBytes;
    auto a0 = start(at);
    auto a1 = start(at + n);
    auto a2 = start(at + 2 * n);
    auto a3 = start(at + 3 * n);
    size_t ahead = at * In::kBytes + kAhead;
    const bool same = ahead < row_bytes_;
    const RowSum& later = same ? sum_ : next_;
    if (!same) ahead -= row_bytes_;
    for (uint32_t k = 0; k < sum_.n; ++k) {
      const uint8_t* s = bytes_of(sum_.src[k]) + at * In::kBytes;
      if (k < later.n) {
        const uint8_t* wanted = bytes_of(later.src[k]) + ahead;
        for (size_t line = 0; line < 4 * step; line += kStreamAlign) hwy::Prefetch(wanted + line);
      }
      const VF32 w = weight_of(sum_, k);
      a0 = add_product(a0, w, in_.load(s));
      a1 = add_product(a1, w, in_.load(s + step));
      a2 = add_product(a2, w, in_.load(s + 2 * step));
      a3 = add_product(a3, w, in_.load(s + 3 * step));
    }
    uint8_t* d = bytes_of(sum_.dst) + at * Out::kBytes;
    if constexpr (kStreaming) {
      out_.stream4(out_.encode(a0), out_.encode(a1), out_.encode(a2), out_.encode(a3), d);
    } else {
      out_.store4(out_.encode(a0), out_.encode(a1), out_.encode(a2), out_.encode(a3), d);
    }
  }

  // The same for n elements, at most a vector, with copies of everything in full vectors.
  HWY_NOINLINE void partial(size_t at, size_t n) const {
    HWY_ALIGN uint8_t row[HWY_MAX_BYTES] = {};
    HWY_ALIGN uint8_t bias[2][HWY_MAX_BYTES] = {};
    RowSum local = sum_;
    for (int b = 0; b < 2; ++b) {
      if (sum_.bias[b] == nullptr) continue;
      std::memcpy(bias[b], bytes_of(sum_.bias[b]) + at * Out::kBytes, n * Out::kBytes);
      local.bias[b] = bias[b];
    }
    auto acc = Summer(local, local, 0).start(0);
    for (uint32_t k = 0; k < sum_.n; ++k) {
      std::memcpy(row, bytes_of(sum_.src[k]) + at * In::kBytes, n * In::kBytes);
      acc = add_product(acc, weight_of(sum_, k), in_.load(row));
    }
    out_.store(out_.encode(acc), row);
    std::memcpy(bytes_of(sum_.dst) + at * Out::kBytes, row, n * Out::kBytes);
  }

  const RowSum& sum_;
  const RowSum& next_;
  const size_t row_bytes_;  // of those added up
  const In in_{};
  const Out out_{};
};

template <class In, class Out>
void sum_as(const RowSum* sums, size_t count, const RowSumFormat& format) {
  const bool streaming = format.stores == Stores::kStreaming;
  for (size_t i = 0; i < count; ++i) {
    const Summer<In, Out> summer(sums[i], sums[i + 1 < count ? i + 1 : i], format.hidden);
    size_t begin = 0;
    if (streaming) begin = elements_to_alignment(sums[i].dst, Out::kBytes, format.hidden);
    summer.run(0, begin, false);
    const uint8_t* first = bytes_of(sums[i].dst) + begin * Out::kBytes;
    summer.run(begin, format.hidden, streaming && is_stream_aligned(first));
  }
  if (streaming) hwy::FlushStream();
}

template <class In>
void sum_to(const RowSum* sums, size_t count, const RowSumFormat& format) {
  switch (format.dst_type) {
    case DataType::kBfloat16:
      return sum_as<In, NarrowLane<Bfloat16> >(sums, count, format);
    case DataType::kFloat16:
      return sum_as<In, NarrowLane<Float16> >(sums, count, format);
    case DataType::kFloat32:
      return sum_as<In, FloatLane<float> >(sums, count, format);
    default:
      TUTTI_CHECK(false, "sums of rows are bf16, f16 or f32");
  }
}

void sum_rows_simd(const RowSum* sums, size_t count, const RowSumFormat& format) {
  switch (format.src_type) {
    case DataType::kBfloat16:
      if (format.dst_type == DataType::kBfloat16) {
        return sum_as<Bfloat16Lane, Bfloat16Lane>(sums, count, format);
      }
      return sum_to<NarrowLane<Bfloat16> >(sums, count, format);
    case DataType::kFloat16:
      return sum_to<NarrowLane<Float16> >(sums, count, format);
    case DataType::kFloat32:
      return sum_to<FloatLane<float> >(sums, count, format);
    default:
      TUTTI_CHECK(false, "rows that are summed are bf16, f16 or f32");
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {

HWY_EXPORT(sum_rows_simd);
void sum_rows(const RowSum* sums, size_t count, const RowSumFormat& format) {
  DefaultFpEnvironment environment;
  HWY_DYNAMIC_DISPATCH(sum_rows_simd)(sums, count, format);
}

}  // namespace tutti
#endif
