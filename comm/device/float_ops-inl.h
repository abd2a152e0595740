// Float operators on vectors of f32 or f64, for one SIMD target at a time.
//
// Min and max propagate NaN and order -0 < +0, which no processor's own instruction does; every
// result passes finish(), which divides for an average and makes each NaN the canonical quiet one.
#if defined(TUTTI_COMM_DEVICE_FLOAT_OPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TUTTI_COMM_DEVICE_FLOAT_OPS_INL_H_
#undef TUTTI_COMM_DEVICE_FLOAT_OPS_INL_H_
#else
#define TUTTI_COMM_DEVICE_FLOAT_OPS_INL_H_
#endif

#include <cstdint>
#include <hwy/highway.h>

#include "comm/base/check.h"
#include "comm/device/fold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct FloatSum {
  static constexpr bool kIsSum = true;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::Add(a, b);
  }
};

struct FloatProd {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::Mul(a, b);
  }
};

// Of two equal values only zeros can differ in bits: `and` of the bits is +0, `or` is -0.
// The comparison keeps `a` when `a` is NaN; a NaN `b` is chosen in the last step.
struct FloatMax {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    const V larger = hn::IfThenElse(hn::Lt(a, b), b, a);
    const V zeros_settled = hn::IfThenElse(hn::Eq(a, b), hn::And(a, b), larger);
    return hn::IfThenElse(hn::Eq(b, b), zeros_settled, b);
  }
};

struct FloatMin {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    const V smaller = hn::IfThenElse(hn::Lt(b, a), b, a);
    const V zeros_settled = hn::IfThenElse(hn::Eq(a, b), hn::Or(a, b), smaller);
    return hn::IfThenElse(hn::Eq(b, b), zeros_settled, b);
  }
};

// `divisor` 0: none.
template <class D, class V>
HWY_INLINE V finish(D d, V v, uint32_t divisor) {
  using T = hn::TFromD<D>;
  if (divisor != 0) v = hn::Div(v, hn::Set(d, static_cast<T>(divisor)));
  using Bits = hn::TFromD<hn::RebindToUnsigned<D>>;
  constexpr Bits kNan =
      sizeof(T) == 4 ? static_cast<Bits>(0x7FC00000) : static_cast<Bits>(0x7FF8000000000000);
  const V nan = hn::BitCast(d, hn::Set(hn::RebindToUnsigned<D>(), kNan));
  return hn::IfThenElse(hn::Eq(v, v), v, nan);
}

template <class Lane>
HWY_INLINE void fold_float(const ReduceCall& call, const Lane& lane) {
  switch (call.op) {
    case ReduceOp::kSum:
      return fold<Lane, FloatSum>(call, lane);
    case ReduceOp::kProd:
      return fold<Lane, FloatProd>(call, lane);
    case ReduceOp::kMax:
      return fold<Lane, FloatMax>(call, lane);
    case ReduceOp::kMin:
      return fold<Lane, FloatMin>(call, lane);
    default:
      TUTTI_CHECK(false, "operator not defined for floats");
  }
}

template <class Lane>
HWY_INLINE void scale_through(const Lane& lane, void* dst, const void* src, size_t count) {
  fold<Lane, NoOperator>(
      ReduceCall{&src, 1, &dst, 1, count, {}, ReduceOp::kSum, 0, Stores::kCached}, lane);
}

}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#endif  // TUTTI_COMM_DEVICE_FLOAT_OPS_INL_H_
