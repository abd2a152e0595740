// Folds and scaling of f32 and f64, which accumulate in themselves.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "comm/base/check.h"
#include "comm/device/families.h"
#include "comm/device/simd_config.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/device/reduce_float.cc"
#include <hwy/foreach_target.h>  // NOLINT: includes this file once per target
#include <hwy/highway.h>

#include "comm/device/float_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

template <class T>
struct ScaledFloatLane : FloatLane<T> {
  using D = hn::ScalableTag<T>;
  T factor;

  HWY_INLINE hn::Vec<D> encode(hn::Vec<D> v) const {
    return finish(this->d, hn::Mul(v, hn::Set(this->d, factor)), 0);
  }
};

void reduce_float_simd(const ReduceCall& call) {
  if (call.dtype == DataType::kFloat32) {
    return fold_float(call, FloatLane<float>{{}, call.divisor});
  }
  TUTTI_CHECK(call.dtype == DataType::kFloat64, "not f32 or f64");
  fold_float(call, FloatLane<double>{{}, call.divisor});
}

template <class T>
void scale_as(void* dst, const void* src, size_t count, const void* scalar) {
  T factor;
  std::memcpy(&factor, scalar, sizeof factor);
  scale_through(ScaledFloatLane<T>{{{}, 0}, factor}, dst, src, count);
}

void scale_float_simd(void* dst, const void* src, size_t count, DataType dtype,
                      const void* scalar) {
  if (dtype == DataType::kFloat32) return scale_as<float>(dst, src, count, scalar);
  TUTTI_CHECK(dtype == DataType::kFloat64, "not f32 or f64");
  scale_as<double>(dst, src, count, scalar);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {

HWY_EXPORT(reduce_float_simd);
void reduce_float(const ReduceCall& call) { HWY_DYNAMIC_DISPATCH(reduce_float_simd)(call); }

HWY_EXPORT(scale_float_simd);
void scale_float(void* dst, const void* src, size_t count, DataType dtype, const void* scalar) {
  HWY_DYNAMIC_DISPATCH(scale_float_simd)(dst, src, count, dtype, scalar);
}

}  // namespace tutti
#endif
