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

#include "comm/device/float_ops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

template <class T>
struct FloatLane {
  using D = hn::ScalableTag<T>;
  static constexpr size_t kBytes = sizeof(T);
  D d;
  uint32_t divisor;

  HWY_INLINE size_t lanes() const { return hn::Lanes(d); }
  HWY_INLINE hn::Vec<D> load(const uint8_t* p) const {
    return hn::LoadU(d, reinterpret_cast<const T*>(p));
  }
  HWY_INLINE hn::Vec<D> load_first(const uint8_t* p, size_t n) const requires(kHasMasks) {
    return hn::MaskedLoad(hn::FirstN(d, n), d, reinterpret_cast<const T*>(p));
  }
  HWY_INLINE void store_first(hn::Vec<D> v, uint8_t* p, size_t n) const requires(kHasMasks) {
    hn::BlendedStore(v, hn::FirstN(d, n), d, reinterpret_cast<T*>(p));
  }
  HWY_INLINE hn::Vec<D> encode(hn::Vec<D> v) const { return finish(d, v, divisor); }
  HWY_INLINE void store(hn::Vec<D> v, uint8_t* p) const {
    hn::StoreU(v, d, reinterpret_cast<T*>(p));
  }
  using V = hn::Vec<D>;
  HWY_INLINE void store4(V r0, V r1, V r2, V r3, uint8_t* p) const {
    store_four(d, r0, r1, r2, r3, reinterpret_cast<T*>(p));
  }
  HWY_INLINE void stream4(V r0, V r1, V r2, V r3, uint8_t* p) const {
    stream_four(d, r0, r1, r2, r3, reinterpret_cast<T*>(p));
  }
};

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
