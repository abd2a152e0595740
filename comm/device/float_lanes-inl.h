// How the elements of each float type are loaded into f32 (f64) accumulators and stored again, for
// one SIMD target at a time: the lane policies that fold-inl.h describes.
//
// encode() rounds to nearest even, divides by `divisor` before (0: does not), and makes every NaN
// the canonical one. Value types, no state.
#if defined(TUTTI_COMM_DEVICE_FLOAT_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TUTTI_COMM_DEVICE_FLOAT_LANES_INL_H_
#undef TUTTI_COMM_DEVICE_FLOAT_LANES_INL_H_
#else
#define TUTTI_COMM_DEVICE_FLOAT_LANES_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <hwy/highway.h>

#include "comm/device/convert-inl.h"
#include "comm/device/float_ops-inl.h"

// Whether bf16 has a lane of pairs.
#undef TUTTI_BFLOAT16_PAIRS
#if HWY_TARGET == HWY_SCALAR || HWY_HAVE_SCALABLE
#define TUTTI_BFLOAT16_PAIRS 0
#else
#define TUTTI_BFLOAT16_PAIRS 1
#endif

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

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

#if TUTTI_BFLOAT16_PAIRS
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

#else
using Bfloat16Lane = NarrowLane<Bfloat16>;
#endif

}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#endif  // TUTTI_COMM_DEVICE_FLOAT_LANES_INL_H_
