// Rows of 1-byte values with scales back to floats.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "comm/base/check.h"
#include "comm/device/fp_environment.h"
#include "comm/device/row_quantise.h"
#include "comm/device/simd_config.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/device/row_dequantise.cc"
#include <hwy/foreach_target.h>  // NOLINT: includes this file once per target
#include <hwy/highway.h>

#include "comm/device/float_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

struct Fp8Values {
  static HWY_INLINE VF32 load(const uint8_t* p) { return Narrow<Float8e4m3>::load(F32(), p); }
};

struct Int8Values {
  static HWY_INLINE VF32 load(const uint8_t* p) {
    const hn::Rebind<int8_t, F32> d;
    return hn::ConvertTo(F32(),
                         hn::PromoteTo(I32(), hn::LoadU(d, reinterpret_cast<const int8_t*>(p))));
  }
};

// Values that share a scale. `ahead`: bytes from a value to one that is wanted a row later.
struct Run {
  const uint8_t* src;
  uint8_t* dst;
  size_t n;
  ptrdiff_t ahead;
  bool streaming;
};

template <class Values, class Lane>
HWY_NOINLINE void decode(float scale, const Run& run) {
  const Lane lane{};
  const uint8_t* const src = run.src;
  uint8_t* const dst = run.dst;
  const size_t step = lane.lanes();
  const VF32 factor = hn::Set(F32(), scale);
  size_t i = 0;
  for (; i + 4 * step <= run.n; i += 4 * step) {
    const uint8_t* s = src + i;
    hwy::Prefetch(s + run.ahead);
    const auto r0 = lane.encode(hn::Mul(Values::load(s), factor));
    const auto r1 = lane.encode(hn::Mul(Values::load(s + step), factor));
    const auto r2 = lane.encode(hn::Mul(Values::load(s + 2 * step), factor));
    const auto r3 = lane.encode(hn::Mul(Values::load(s + 3 * step), factor));
    if (run.streaming) {
      lane.stream4(r0, r1, r2, r3, dst + i * Lane::kBytes);
    } else {
      lane.store4(r0, r1, r2, r3, dst + i * Lane::kBytes);
    }
  }
  for (; i < run.n; i += step) {
    HWY_ALIGN uint8_t rest[HWY_MAX_BYTES] = {};
    const size_t some = std::min(step, run.n - i);
    std::memcpy(rest, src + i, some);
    lane.store(lane.encode(hn::Mul(Values::load(rest), factor)), rest);
    std::memcpy(dst + i * Lane::kBytes, rest, some * Lane::kBytes);
  }
}

template <class Values, class Lane>
void dequantise_as(const DequantiseRows& call) {
  const size_t length = call.quant == RowQuant::kInt8Token ? call.hidden : kRowQuantBlock;
  for (size_t i = 0; i < call.rows; ++i) {
    const uint8_t* src = call.values[i];
    const uint8_t* scales = call.scales[i];
    uint8_t* dst = call.dst[i];
    const ptrdiff_t ahead = i + 1 < call.rows ? call.values[i + 1] - src : 0;
    const bool streaming = call.stores == Stores::kStreaming && is_stream_aligned(dst);
    for (size_t at = 0; at < call.hidden; at += length) {
      float scale;
      std::memcpy(&scale, scales + at / length * sizeof scale, sizeof scale);
      decode<Values, Lane>(scale, {src + at, dst + at * Lane::kBytes,
                                   std::min(length, call.hidden - at), ahead, streaming});
    }
  }
  if (call.stores == Stores::kStreaming) hwy::FlushStream();
}

template <class Lane>
void dequantise_to(const DequantiseRows& call) {
  if (call.quant == RowQuant::kInt8Token) return dequantise_as<Int8Values, Lane>(call);
  dequantise_as<Fp8Values, Lane>(call);
}

void dequantise_rows_simd(const DequantiseRows& call) {
  switch (call.dtype) {
    case DataType::kBfloat16:
      return dequantise_to<NarrowLane<Bfloat16> >(call);
    case DataType::kFloat16:
      return dequantise_to<NarrowLane<Float16> >(call);
    case DataType::kFloat32:
      return dequantise_to<FloatLane<float> >(call);
    default:
      TUTTI_CHECK(false, "rows are dequantised to bf16, f16 or f32");
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {

HWY_EXPORT(dequantise_rows_simd);
void dequantise_rows(const DequantiseRows& call) {
  TUTTI_CHECK(is_computed(call.quant), "not a quantisation that is computed");
  DefaultFpEnvironment environment;
  HWY_DYNAMIC_DISPATCH(dequantise_rows_simd)(call);
}

}  // namespace tutti
#endif
