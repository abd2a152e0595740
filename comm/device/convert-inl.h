// Conversions between f32 and the 8- and 16-bit floats, for one SIMD target at a time.
//
// Up: exact. Down: round to nearest even, subnormals kept, from an f32 that is finite, infinite or
// the canonical quiet NaN. Our own because Highway's bf16 truncates and its software f16 flushes.
// Every policy: kBytes, up(d, bits in u32 lanes) -> f32, down(d, f32) -> bits in u32 lanes.
#if defined(TUTTI_COMM_DEVICE_CONVERT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TUTTI_COMM_DEVICE_CONVERT_INL_H_
#undef TUTTI_COMM_DEVICE_CONVERT_INL_H_
#else
#define TUTTI_COMM_DEVICE_CONVERT_INL_H_
#endif

#include <cstdint>
#include <hwy/highway.h>
#include <type_traits>

// The processor's own f16 conversions (F16C) are exact and round to nearest even.
#undef TUTTI_NATIVE_F16
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
#define TUTTI_NATIVE_F16 1
#else
#define TUTTI_NATIVE_F16 0
#endif

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using U32 = hn::ScalableTag<uint32_t>;
using I32 = hn::ScalableTag<int32_t>;
using VF32 = hn::Vec<F32>;
using VU32 = hn::Vec<U32>;

constexpr uint32_t kF32Infinity = 0x7F800000;
constexpr uint32_t kF32Nan = 0x7FC00000;

// IEEE-like formats smaller than f32: kExponentBits and kMantissaBits under one sign bit.
// kHasInfinity false is e4m3: the top code is NaN, everything else is finite and saturates.
template <int kExponentBits, int kMantissaBits, bool kHasInfinity>
struct SmallFloat {
  static constexpr int kWidth = 1 + kExponentBits + kMantissaBits;
  static constexpr size_t kBytes = kWidth / 8;
  static constexpr int kShift = 23 - kMantissaBits;
  static constexpr int kBiasGap = 127 - ((1 << (kExponentBits - 1)) - 1);
  static constexpr uint32_t kSignBit = 1u << (kWidth - 1);
  static constexpr uint32_t kMagnitude = kSignBit - 1;
  static constexpr uint32_t kExponentMask = ((1u << kExponentBits) - 1) << kMantissaBits;
  static constexpr uint32_t kNan =
      kHasInfinity ? kExponentMask | (1u << (kMantissaBits - 1)) : kMagnitude;
  // What overflow becomes: infinity, or the largest finite value.
  static constexpr uint32_t kLargest = kHasInfinity ? kExponentMask : kMagnitude - 1;
  static constexpr uint32_t kMinNormalF32 = static_cast<uint32_t>(kBiasGap + 1) << 23;

  static HWY_INLINE VF32 up(F32 d, VU32 bits) {
    const U32 du;
    const VU32 magnitude = hn::And(bits, hn::Set(du, kMagnitude));
    const VU32 sign = hn::ShiftLeft<32 - kWidth>(hn::And(bits, hn::Set(du, kSignBit)));
    const VU32 shifted = hn::ShiftLeft<kShift>(magnitude);
    const VU32 normal = hn::Add(shifted, hn::Set(du, static_cast<uint32_t>(kBiasGap) << 23));
    // A subnormal under the smallest normal's exponent is that normal plus the value: subtract it.
    const VF32 min_normal = hn::BitCast(d, hn::Set(du, kMinNormalF32));
    const VU32 raised = hn::Add(shifted, hn::Set(du, kMinNormalF32));
    const VU32 subnormal = hn::BitCast(du, hn::Sub(hn::BitCast(d, raised), min_normal));
    const auto is_small = less(magnitude, hn::Set(du, 1u << kMantissaBits));
    VU32 result = hn::IfThenElse(is_small, subnormal, normal);
    if (kHasInfinity) {
      const auto is_special = less(hn::Set(du, kExponentMask - 1), magnitude);
      result = hn::IfThenElse(is_special, hn::Or(shifted, hn::Set(du, kF32Infinity)), result);
    } else {
      const auto is_nan = hn::Eq(magnitude, hn::Set(du, kNan));
      result = hn::IfThenElse(is_nan, hn::Set(du, kF32Nan), result);
    }
    return hn::BitCast(d, hn::Or(result, sign));
  }

  static HWY_INLINE VU32 down(F32 d, VF32 value) {
    const U32 du;
    const VU32 bits = hn::BitCast(du, value);
    const VU32 sign_f32 = hn::And(bits, hn::Set(du, 0x80000000u));
    const VU32 magnitude = hn::Xor(bits, sign_f32);
    // Half of the last kept bit, minus one, plus that bit: ties go to even. The exponent is rebased
    // in the same addition (wrapping).
    const VU32 last = hn::And(hn::ShiftRight<kShift>(magnitude), hn::Set(du, 1u));
    constexpr uint32_t kRound = (1u << (kShift - 1)) - 1 - (static_cast<uint32_t>(kBiasGap) << 23);
    const VU32 rounded = hn::Add(hn::Add(magnitude, hn::Set(du, kRound)), last);
    // Values below half of the smallest normal wrap to huge ones here; they are replaced below.
    VU32 normal = hn::ShiftRight<kShift>(rounded);
    const VU32 largest = hn::Set(du, kLargest);
    normal = hn::IfThenElse(less(largest, normal), largest, normal);
    // Adding 2^k whose last bit weighs what the last subnormal bit does makes the adder round.
    const VU32 magic = hn::Set(du, static_cast<uint32_t>(kBiasGap + kShift + 1) << 23);
    const VF32 placed = hn::Add(hn::BitCast(d, magnitude), hn::BitCast(d, magic));
    const VU32 subnormal = hn::Sub(hn::BitCast(du, placed), magic);
    const auto is_small = less(magnitude, hn::Set(du, kMinNormalF32));
    VU32 result = hn::IfThenElse(is_small, subnormal, normal);
    result = hn::Or(result, hn::ShiftRight<32 - kWidth>(sign_f32));
    // e4m3 has no infinity: it becomes NaN, while finite values saturate.
    constexpr uint32_t kFirstNan = kHasInfinity ? kF32Infinity + 1 : kF32Infinity;
    const auto is_nan = less(hn::Set(du, kFirstNan - 1), magnitude);
    return hn::IfThenElse(is_nan, hn::Set(du, kNan), result);
  }

 private:
  // All operands are below 2^31, where signed comparison (cheaper on x86) is the same.
  static HWY_INLINE auto less(VU32 a, VU32 b) {
    const I32 di;
    return hn::RebindMask(U32(), hn::Lt(hn::BitCast(di, a), hn::BitCast(di, b)));
  }
};

struct Bfloat16 {
  static constexpr size_t kBytes = 2;

  static HWY_INLINE VF32 up(F32 d, VU32 bits) { return hn::BitCast(d, hn::ShiftLeft<16>(bits)); }

  static HWY_INLINE VU32 down(F32 /*d*/, VF32 value) { return hn::ShiftRight<16>(rounded(value)); }

  // The result in the upper half, anything in the lower one.
  static HWY_INLINE VU32 rounded(VF32 value) {
    const U32 du;
    const VU32 bits = hn::BitCast(du, value);
    const VU32 last = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    return hn::Add(hn::Add(bits, hn::Set(du, 0x7FFFu)), last);
  }
};

using Float16 = SmallFloat<5, 10, true>;
using Float8e4m3 = SmallFloat<4, 3, false>;
using Float8e5m2 = SmallFloat<5, 2, true>;

// Stored bits of one vector of narrow floats, and the loads and stores of them.
template <class Format>
struct Narrow {
  using Bits = std::conditional_t<Format::kBytes == 2, uint16_t, uint8_t>;
  using DBits = hn::Rebind<Bits, F32>;

  static HWY_INLINE VF32 load(F32 d, const uint8_t* p) {
    const auto bits = hn::LoadU(DBits(), reinterpret_cast<const Bits*>(p));
#if TUTTI_NATIVE_F16
    if constexpr (std::is_same_v<Format, Float16>) {
      return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, F32>(), bits));
    } else
#endif
      return Format::up(d, hn::PromoteTo(U32(), bits));
  }

  // `v` carries no NaN but the canonical one.
  static HWY_INLINE hn::Vec<DBits> encode(F32 d, VF32 v) {
#if TUTTI_NATIVE_F16
    if constexpr (std::is_same_v<Format, Float16>) {
      return hn::BitCast(DBits(), hn::DemoteTo(hn::Rebind<hwy::float16_t, F32>(), v));
    } else
#endif
      return hn::TruncateTo(DBits(), Format::down(d, v));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#endif  // TUTTI_COMM_DEVICE_CONVERT_INL_H_
