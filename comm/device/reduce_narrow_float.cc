// Folds and scaling of f16, bf16, e4m3 and e5m2: f32 accumulators, rounded once when stored.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "comm/base/check.h"
#include "comm/device/families.h"
#include "comm/device/simd_config.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/device/reduce_narrow_float.cc"
#include <hwy/foreach_target.h>  // NOLINT: includes this file once per target
#include <hwy/highway.h>

#include "comm/device/float_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

template <class Format>
struct ScaledNarrowLane : NarrowLane<Format> {
  using Base = NarrowLane<Format>;
  float factor;

  HWY_INLINE hn::Vec<typename Base::DBits> encode(VF32 v) const {
    return Base::encode(hn::Mul(v, hn::Set(this->d, factor)));
  }
};

#if TUTTI_BFLOAT16_PAIRS
template <class Op>
struct OnPairs {
  static constexpr bool kIsSum = Op::kIsSum;
  using Pair = Bfloat16Lane::Pair;
  static HWY_INLINE Pair apply(const Bfloat16Lane& lane, Pair a, Pair b) {
    return {Op::apply(lane, a.even, b.even), Op::apply(lane, a.odd, b.odd)};
  }
};

void fold_bfloat16(const ReduceCall& call) {
  const Bfloat16Lane lane{{}, call.divisor};
  switch (call.op) {
    case ReduceOp::kSum:
      return fold<Bfloat16Lane, OnPairs<FloatSum> >(call, lane);
    case ReduceOp::kProd:
      return fold<Bfloat16Lane, OnPairs<FloatProd> >(call, lane);
    case ReduceOp::kMax:
      return fold<Bfloat16Lane, OnPairs<FloatMax> >(call, lane);
    case ReduceOp::kMin:
      return fold<Bfloat16Lane, OnPairs<FloatMin> >(call, lane);
    default:
      TUTTI_CHECK(false, "operator not defined for floats");
  }
}
#else
void fold_bfloat16(const ReduceCall& call) { fold_float(call, Bfloat16Lane{{}, call.divisor}); }
#endif

void reduce_narrow_float_simd(const ReduceCall& call) {
  const uint32_t divisor = call.divisor;
  switch (call.dtype) {
    case DataType::kFloat16:
      return fold_float(call, NarrowLane<Float16>{{}, divisor});
    case DataType::kBfloat16:
      return fold_bfloat16(call);
    case DataType::kFloat8e4m3:
      return fold_float(call, NarrowLane<Float8e4m3>{{}, divisor});
    case DataType::kFloat8e5m2:
      return fold_float(call, NarrowLane<Float8e5m2>{{}, divisor});
    default:
      TUTTI_CHECK(false, "not an 8- or 16-bit float");
  }
}

template <class Format>
void scale_as(void* dst, const void* src, size_t count, const void* scalar) {
  HWY_ALIGN uint8_t buffer[HWY_MAX_BYTES] = {};
  std::memcpy(buffer, scalar, Format::kBytes);
  const float factor = hn::GetLane(Narrow<Format>::load(F32(), buffer));
  scale_through(ScaledNarrowLane<Format>{{{}, 0}, factor}, dst, src, count);
}

void scale_narrow_float_simd(void* dst, const void* src, size_t count, DataType dtype,
                             const void* scalar) {
  switch (dtype) {
    case DataType::kFloat16:
      return scale_as<Float16>(dst, src, count, scalar);
    case DataType::kBfloat16:
      return scale_as<Bfloat16>(dst, src, count, scalar);
    case DataType::kFloat8e4m3:
      return scale_as<Float8e4m3>(dst, src, count, scalar);
    case DataType::kFloat8e5m2:
      return scale_as<Float8e5m2>(dst, src, count, scalar);
    default:
      TUTTI_CHECK(false, "not an 8- or 16-bit float");
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {

HWY_EXPORT(reduce_narrow_float_simd);
void reduce_narrow_float(const ReduceCall& call) {
  HWY_DYNAMIC_DISPATCH(reduce_narrow_float_simd)(call);
}

HWY_EXPORT(scale_narrow_float_simd);
void scale_narrow_float(void* dst, const void* src, size_t count, DataType dtype,
                        const void* scalar) {
  HWY_DYNAMIC_DISPATCH(scale_narrow_float_simd)(dst, src, count, dtype, scalar);
}

}  // namespace tutti
#endif
