// Folds of bool: any byte but zero counts as true, and what is written is 0 or 1.
// sum = max = bor = or, prod = min = band = and, bxor = exclusive or.
#include <cstddef>
#include <cstdint>

#include "comm/base/check.h"
#include "comm/device/families.h"
#include "comm/device/simd_config.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/device/reduce_bool.cc"
#include <hwy/foreach_target.h>  // NOLINT: includes this file once per target
#include <hwy/highway.h>

#include "comm/device/fold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

struct BoolLane {
  using D = hn::ScalableTag<uint8_t>;
  static constexpr size_t kBytes = 1;
  D d;

  HWY_INLINE size_t lanes() const { return hn::Lanes(d); }
  HWY_INLINE hn::Vec<D> load(const uint8_t* p) const {
    return hn::Min(hn::LoadU(d, p), hn::Set(d, uint8_t{1}));
  }
  HWY_INLINE hn::Vec<D> encode(hn::Vec<D> v) const { return v; }
  HWY_INLINE void store(hn::Vec<D> v, uint8_t* p) const { hn::StoreU(v, d, p); }
  using V = hn::Vec<D>;
  HWY_INLINE void store4(V r0, V r1, V r2, V r3, uint8_t* p) const {
    store_four(d, r0, r1, r2, r3, p);
  }
  HWY_INLINE void stream4(V r0, V r1, V r2, V r3, uint8_t* p) const {
    stream_four(d, r0, r1, r2, r3, p);
  }
};

struct Or {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::Or(a, b);
  }
};
struct And {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::And(a, b);
  }
};
struct Xor {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::Xor(a, b);
  }
};

void reduce_bool_simd(const ReduceCall& call) {
  switch (call.op) {
    case ReduceOp::kSum:
    case ReduceOp::kMax:
    case ReduceOp::kBor:
      return fold<BoolLane, Or>(call, BoolLane());
    case ReduceOp::kProd:
    case ReduceOp::kMin:
    case ReduceOp::kBand:
      return fold<BoolLane, And>(call, BoolLane());
    case ReduceOp::kBxor:
      return fold<BoolLane, Xor>(call, BoolLane());
    default:
      TUTTI_CHECK(false, "operator not defined for bool");
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {

HWY_EXPORT(reduce_bool_simd);
void reduce_bool(const ReduceCall& call) { HWY_DYNAMIC_DISPATCH(reduce_bool_simd)(call); }

}  // namespace tutti
#endif
