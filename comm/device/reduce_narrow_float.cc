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

#include "comm/device/convert-inl.h"
#include "comm/device/float_ops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

template <class Format>
struct NarrowLane {
  using Codec = Narrow<Format>;
  using DBits = typename Codec::DBits;
  using Bits = typename Codec::Bits;
  static constexpr size_t kBytes = Format::kBytes;
  F32 d;
  uint32_t divisor;

  HWY_INLINE size_t lanes() const { return hn::Lanes(d); }
  HWY_INLINE VF32 load(const uint8_t* p) const { return Codec::load(d, p); }
  HWY_INLINE hn::Vec<DBits> encode(VF32 v) const { return Codec::encode(d, finish(d, v, divisor)); }
  HWY_INLINE void store(hn::Vec<DBits> v, uint8_t* p) const {
    hn::StoreU(v, DBits(), reinterpret_cast<Bits*>(p));
  }
  using V = hn::Vec<DBits>;
  HWY_INLINE void store4(V r0, V r1, V r2, V r3, uint8_t* p) const {
    write4<false>(r0, r1, r2, r3, p);
  }
  HWY_INLINE void stream4(V r0, V r1, V r2, V r3, uint8_t* p) const {
    write4<true>(r0, r1, r2, r3, p);
  }

 private:
  // Stored vectors are a half or a quarter of a register: they are joined first, because narrow
  // non-temporal stores are slow (and Highway's write 16 bytes at least).
  template <bool kStreaming>
  static HWY_INLINE void write4(V r0, V r1, V r2, V r3, uint8_t* p) {
    auto* to = reinterpret_cast<Bits*>(p);
#if HWY_TARGET == HWY_SCALAR
    store_four(DBits(), r0, r1, r2, r3, to);
#else
    const hn::Twice<DBits> d2;
    const auto low = hn::Combine(d2, r1, r0);
    const auto high = hn::Combine(d2, r3, r2);
    if constexpr (sizeof(Bits) == 2) {
      write<kStreaming>(d2, low, to);
      write<kStreaming>(d2, high, to + hn::Lanes(d2));
    } else {
      const hn::Twice<hn::Twice<DBits> > d4;
      write<kStreaming>(d4, hn::Combine(d4, high, low), to);
    }
#endif
  }
  template <bool kStreaming, class D, class W>
  static HWY_INLINE void write(D dw, W v, Bits* p) {
    if constexpr (kStreaming) {
      hn::Stream(v, dw, p);
    } else {
      hn::StoreU(v, dw, p);
    }
  }
};

template <class Format>
struct ScaledNarrowLane : NarrowLane<Format> {
  using Base = NarrowLane<Format>;
  float factor;

  HWY_INLINE hn::Vec<typename Base::DBits> encode(VF32 v) const {
    return Base::encode(hn::Mul(v, hn::Set(this->d, factor)));
  }
};

#if HWY_TARGET == HWY_SCALAR || HWY_HAVE_SCALABLE
using Bfloat16Lane = NarrowLane<Bfloat16>;

void fold_bfloat16(const ReduceCall& call) { fold_float(call, Bfloat16Lane{{}, call.divisor}); }
#else
// bf16, the type that matters most, without widening shuffles: a full vector of elements is seen as
// 32-bit words, whose low and high halves are the two accumulators.
struct Bfloat16Lane {
  struct Pair {
    VF32 even;
    VF32 odd;
  };
  static constexpr size_t kBytes = 2;
  F32 d;
  uint32_t divisor;

  HWY_INLINE size_t lanes() const { return 2 * hn::Lanes(d); }
  HWY_INLINE Pair load(const uint8_t* p) const {
    const VU32 words = hn::LoadU(U32(), reinterpret_cast<const uint32_t*>(p));
    return {hn::BitCast(d, hn::ShiftLeft<16>(words)), hn::BitCast(d, hn::And(words, high()))};
  }
  HWY_INLINE VU32 encode(Pair v) const {
    const VU32 even = Bfloat16::rounded(finish(d, v.even, divisor));
    const VU32 odd = Bfloat16::rounded(finish(d, v.odd, divisor));
    return hn::Or(hn::ShiftRight<16>(even), hn::And(odd, high()));
  }
  HWY_INLINE void store(VU32 v, uint8_t* p) const {
    hn::StoreU(v, U32(), reinterpret_cast<uint32_t*>(p));
  }
  HWY_INLINE void store4(VU32 r0, VU32 r1, VU32 r2, VU32 r3, uint8_t* p) const {
    store_four(U32(), r0, r1, r2, r3, reinterpret_cast<uint32_t*>(p));
  }
  HWY_INLINE void stream4(VU32 r0, VU32 r1, VU32 r2, VU32 r3, uint8_t* p) const {
    stream_four(U32(), r0, r1, r2, r3, reinterpret_cast<uint32_t*>(p));
  }

 private:
  static HWY_INLINE VU32 high() { return hn::Set(U32(), 0xFFFF0000u); }
};

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
