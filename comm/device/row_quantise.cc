// Rows of floats to 1-byte values with scales: one look for the largest magnitudes, a second one,
// which finds the elements in the first cache, for the quotients.
#include "comm/device/row_quantise.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "comm/base/check.h"
#include "comm/device/fp_environment.h"
#include "comm/device/simd_config.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/device/row_quantise.cc"
#include <hwy/foreach_target.h>  // NOLINT: includes this file once per target
#include <hwy/highway.h>

#include "comm/device/float_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

// Scales that are found before their elements are looked at again: 32 KiB of f32.
constexpr size_t kScalesAtOnce = 64;

// Elements of a row, and where their values go.
struct Run {
  const uint8_t* src;
  uint8_t* dst;
  size_t n;
  ptrdiff_t ahead;  // from an element to one that is wanted soon after the run, in bytes
  bool streaming;
};

// The largest |v| of n elements, as stored. Magnitudes of floats are ordered like their bits, and
// infinities and NaNs are the largest.
template <class Lane>
HWY_INLINE auto largest_magnitude(const uint8_t* src, size_t n) {
  using T = std::conditional_t<Lane::kBytes == 2, int16_t, int32_t>;
  constexpr T kMagnitude = static_cast<T>(sizeof(T) == 2 ? 0x7FFF : 0x7FFFFFFF);
  const hn::ScalableTag<T> d;
  const size_t step = hn::Lanes(d);
  const auto magnitude = hn::Set(d, kMagnitude);
  auto most0 = hn::Zero(d);
  auto most1 = hn::Zero(d);
  size_t i = 0;
  const auto* p = reinterpret_cast<const T*>(src);
  for (; i + 2 * step <= n; i += 2 * step) {
    most0 = hn::Max(most0, hn::And(hn::LoadU(d, p + i), magnitude));
    most1 = hn::Max(most1, hn::And(hn::LoadU(d, p + i + step), magnitude));
  }
  for (; i < n; i += step) {
    HWY_ALIGN T rest[HWY_MAX_BYTES / sizeof(T)] = {};
    std::memcpy(rest, src + i * sizeof(T), std::min(step, n - i) * sizeof(T));
    most0 = hn::Max(most0, hn::And(hn::Load(d, rest), magnitude));
  }
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(most0, most1)));
}

// The scales of elements whose largest magnitudes are `amax`: a NaN for infinities and NaNs.
HWY_INLINE VF32 scales_of(RowQuant quant, VF32 amax) {
  const F32 d;
  const U32 du;
  VF32 scale;
  if (quant == RowQuant::kInt8Token) {
    scale = hn::Div(amax, hn::Set(d, 127.0f));
  } else {
    scale = hn::Div(hn::Max(amax, hn::Set(d, 1e-4f)), hn::Set(d, 448.0f));
  }
  if (quant == RowQuant::kFp8Block128Pow2) {
    // Never subnormal: the next power of two is the exponent, plus one where the mantissa is not 0.
    const VU32 raised = hn::Add(hn::BitCast(du, scale), hn::Set(du, 0x007FFFFFu));
    scale = hn::BitCast(d, hn::And(raised, hn::Set(du, kF32Infinity)));
  }
  const VF32 infinity = hn::BitCast(d, hn::Set(du, kF32Infinity));
  const VF32 nan = hn::BitCast(d, hn::Set(du, kF32Nan));
  return hn::IfThenElse(hn::Lt(amax, infinity), scale, nan);
}

// Scales of the `count` runs of `length` elements from `src` on, the last one short: n in all.
template <class Lane>
HWY_INLINE void find_scales(RowQuant quant, const uint8_t* src, size_t n, size_t length,
                            float* scales, size_t count) {
  const Lane lane{};
  HWY_ALIGN uint8_t magnitudes[kScalesAtOnce * sizeof(float) + HWY_MAX_BYTES] = {};
  for (size_t b = 0; b < count; ++b) {
    const size_t begin = b * length;
    const auto most =
        largest_magnitude<Lane>(src + begin * Lane::kBytes, std::min(length, n - begin));
    std::memcpy(magnitudes + b * sizeof most, &most, sizeof most);
  }
  for (size_t b = 0; b < count; b += lane.lanes()) {
    hn::StoreU(scales_of(quant, lane.load(magnitudes + b * Lane::kBytes)), F32(), scales + b);
  }
}

// The e4m3 code, in the lowest byte, of a quotient that is at most 448 but for its own rounding: no
// saturation, no NaN.
//
// Adding 2^20 times the power of two below |t| makes the adder round to three bits after the first,
// ties to even, and leaves them, the first included, in the lowest bits: 8 to 16. Below 2^-6, where
// e4m3 is subnormal, the power stays 2^-6. The exponent, rebased, is added above the three bits,
// where the first one completes it; an even number in the magic one rebases it.
HWY_INLINE VU32 e4m3_of_quotient(VF32 t) {
  const F32 d;
  const U32 du;
  const VF32 exponent = hn::BitCast(d, hn::And(hn::BitCast(du, t), hn::Set(du, kF32Infinity)));
  const VU32 power = hn::BitCast(du, hn::Max(exponent, hn::Set(d, 0x1p-6f)));
  constexpr uint32_t kRebase = 256 - (uint32_t{127 - 6} << 3) % 256;
  const VU32 magic = hn::Add(power, hn::Set(du, (uint32_t{20} << 23) + kRebase));
  const VU32 placed = hn::BitCast(du, hn::Add(hn::Abs(t), hn::BitCast(d, magic)));
  const VU32 code = hn::Add(placed, hn::ShiftRight<20>(power));
  const VU32 sign = hn::Set(du, 0x80);
  return hn::Or(hn::AndNot(sign, code), hn::And(sign, hn::ShiftRight<24>(hn::BitCast(du, t))));
}

// How a value becomes bits in u32 lanes, of which the lowest byte counts.
struct Fp8Code {
  VF32 scale;
  explicit HWY_INLINE Fp8Code(float s) : scale(hn::Set(F32(), s)) {}
  HWY_INLINE VU32 operator()(VF32 v) const { return e4m3_of_quotient(hn::Div(v, scale)); }
};

// The reciprocal of a power of two is exact, and so the product is the quotient.
struct Fp8Pow2Code {
  VF32 reciprocal;
  explicit HWY_INLINE Fp8Pow2Code(float s) : reciprocal(hn::Set(F32(), 1.0f / s)) {}
  HWY_INLINE VU32 operator()(VF32 v) const { return e4m3_of_quotient(hn::Mul(v, reciprocal)); }
};

// Adding 1.5 * 2^23 makes the adder round to an integer, which then is the lowest bits.
struct Int8Code {
  VF32 scale;
  explicit HWY_INLINE Int8Code(float s) : scale(hn::Set(F32(), s)) {}
  HWY_INLINE VU32 operator()(VF32 v) const {
    const F32 d;
    const VF32 limit = hn::Set(d, 127.0f);
    const VF32 within = hn::Max(hn::Min(hn::Div(v, scale), limit), hn::Neg(limit));
    return hn::BitCast(U32(), hn::Add(within, hn::Set(d, 12582912.0f)));
  }
};

// One vector of values as it is stored, and the lane that stores such vectors.
template <class Lane>
struct Values {
  using Stored = NarrowLane<Float8e4m3>;
  template <class Code>
  static HWY_INLINE auto encode(const Code& code, const uint8_t* src) {
    return hn::TruncateTo(Stored::DBits(), code(Lane{}.load(src)));
  }
};

#if TUTTI_BFLOAT16_PAIRS
// Two values in each 16 bits.
template <>
struct Values<Bfloat16Lane> {
  using Stored = NarrowLane<Bfloat16>;
  template <class Code>
  static HWY_INLINE auto encode(const Code& code, const uint8_t* src) {
    const auto pair = Bfloat16Lane{}.load(src);
    const VU32 even = hn::And(code(pair.even), hn::Set(U32(), 0xFF));
    return hn::TruncateTo(Stored::DBits(), hn::Or(even, hn::ShiftLeft<8>(code(pair.odd))));
  }
};
#endif

template <class Lane, class Code>
HWY_INLINE void encode_with(const Code& code, const Run& run) {
  using V = Values<Lane>;
  const typename V::Stored values{};
  const size_t step = Lane{}.lanes();
  const size_t step_bytes = step * Lane::kBytes;
  size_t i = 0;
  for (; i + 4 * step <= run.n; i += 4 * step) {
    const uint8_t* s = run.src + i * Lane::kBytes;
    for (size_t line = 0; line < 4 * step_bytes; line += kStreamAlign) {
      hwy::Prefetch(s + run.ahead + line);
    }
    const auto r0 = V::encode(code, s);
    const auto r1 = V::encode(code, s + step_bytes);
    const auto r2 = V::encode(code, s + 2 * step_bytes);
    const auto r3 = V::encode(code, s + 3 * step_bytes);
    if (run.streaming) {
      values.stream4(r0, r1, r2, r3, run.dst + i);
    } else {
      values.store4(r0, r1, r2, r3, run.dst + i);
    }
  }
  for (; i < run.n; i += step) {
    HWY_ALIGN uint8_t rest[HWY_MAX_BYTES] = {};
    const size_t some = std::min(step, run.n - i);
    std::memcpy(rest, run.src + i * Lane::kBytes, some * Lane::kBytes);
    values.store(V::encode(code, rest), rest);
    std::memcpy(run.dst + i, rest, some);
  }
}

// Runs of `length` elements, the last one short, each with its scale.
template <class Lane, class Code>
HWY_NOINLINE void encode_runs(const float* scales, size_t length, const Run& all) {
  for (size_t at = 0; at < all.n; at += length) {
    const float scale = *scales++;
    const size_t n = std::min(length, all.n - at);
    if (!(scale > 0)) {  // NaN, or nothing but zeros
      std::memset(all.dst + at, 0, n);
      continue;
    }
    encode_with<Lane>(Code(scale),
                      {all.src + at * Lane::kBytes, all.dst + at, n, all.ahead, all.streaming});
  }
}

template <class Lane>
HWY_INLINE void encode(RowQuant quant, const float* scales, size_t length, const Run& all) {
  if (quant == RowQuant::kFp8Block128) {
    encode_runs<Lane, Fp8Code>(scales, length, all);
  } else if (quant == RowQuant::kFp8Block128Pow2) {
    encode_runs<Lane, Fp8Pow2Code>(scales, length, all);
  } else {
    encode_runs<Lane, Int8Code>(scales, length, all);
  }
}

// Row i: a few runs at a time, whose scales are found first. Scan is the lane of single elements.
template <class Scan, class Lane>
HWY_INLINE void quantise_row(const QuantiseRows& call, size_t i) {
  const uint8_t* src = call.src[i];
  uint8_t* dst = call.values[i];
  uint8_t* scales = call.scales[i];
  const size_t length = call.quant == RowQuant::kInt8Token ? call.hidden : kRowQuantBlock;
  const size_t total = scales_per_row(call.quant, call.hidden);
  const bool streaming = call.stores == Stores::kStreaming && is_stream_aligned(dst);
  HWY_ALIGN float found[kScalesAtOnce + HWY_MAX_BYTES / sizeof(float)];
  for (size_t first = 0; first < total; first += kScalesAtOnce) {
    const size_t count = std::min(kScalesAtOnce, total - first);
    const size_t begin = first * length;
    const size_t n = std::min(call.hidden - begin, count * length);
    const uint8_t* s = src + begin * Lane::kBytes;
    find_scales<Scan>(call.quant, s, n, length, found, count);
    std::memcpy(scales + first * sizeof(float), found, count * sizeof(float));
    const uint8_t* next = s + n * Lane::kBytes;
    if (first + count == total) next = i + 1 < call.rows ? call.src[i + 1] : s;
    encode<Lane>(call.quant, found, length, {s, dst + begin, n, next - s, streaming});
  }
}

template <class Scan, class Lane>
void quantise_as(const QuantiseRows& call) {
  for (size_t i = 0; i < call.rows; ++i) {
    quantise_row<Scan, Lane>(call, i);
  }
  if (call.stores == Stores::kStreaming) hwy::FlushStream();
}

void quantise_rows_simd(const QuantiseRows& call) {
  switch (call.dtype) {
    case DataType::kBfloat16:
      return quantise_as<NarrowLane<Bfloat16>, Bfloat16Lane>(call);
    case DataType::kFloat16:
      return quantise_as<NarrowLane<Float16>, NarrowLane<Float16> >(call);
    case DataType::kFloat32:
      return quantise_as<FloatLane<float>, FloatLane<float> >(call);
    default:
      TUTTI_CHECK(false, "rows are quantised from bf16, f16 or f32");
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {

HWY_EXPORT(quantise_rows_simd);
void quantise_rows(const QuantiseRows& call) {
  TUTTI_CHECK(is_computed(call.quant), "not a quantisation that is computed");
  DefaultFpEnvironment environment;
  HWY_DYNAMIC_DISPATCH(quantise_rows_simd)(call);
}

}  // namespace tutti
#endif
