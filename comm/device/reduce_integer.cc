// Integer folds. Sums and products wrap, so they run on unsigned lanes whatever the sign; bitwise
// operators do not even look at the width and run on bytes.
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "comm/base/check.h"
#include "comm/device/families.h"
#include "comm/device/simd_config.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/device/reduce_integer.cc"
#include <hwy/foreach_target.h>  // NOLINT: includes this file once per target
#include <hwy/highway.h>

#include "comm/device/fold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

// `divisor` 0: none. T is unsigned for sums and products; `is_signed` says how to divide.
template <class T>
struct IntegerLane {
  using D = hn::ScalableTag<T>;
  static constexpr size_t kBytes = sizeof(T);
  D d;
  uint32_t divisor;
  bool is_signed;

  HWY_INLINE size_t lanes() const { return hn::Lanes(d); }
  HWY_INLINE hn::Vec<D> load(const uint8_t* p) const {
    return hn::LoadU(d, reinterpret_cast<const T*>(p));
  }
  HWY_INLINE hn::Vec<D> encode(hn::Vec<D> v) const { return divisor == 0 ? v : divide(v); }
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

 private:
  // Element by element: no processor divides integer vectors. Truncates toward zero.
  HWY_NOINLINE hn::Vec<D> divide(hn::Vec<D> v) const {
    using Signed = std::make_signed_t<T>;
    HWY_ALIGN T values[HWY_MAX_BYTES / sizeof(T)];
    hn::Store(v, d, values);
    for (size_t i = 0; i < lanes(); ++i) {
      values[i] = is_signed ? static_cast<T>(static_cast<Signed>(values[i]) / int64_t{divisor})
                            : static_cast<T>(values[i] / uint64_t{divisor});
    }
    return hn::Load(d, values);
  }
};

struct Sum {
  static constexpr bool kIsSum = true;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::Add(a, b);
  }
};

struct Prod {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& lane, V a, V b) {
    if constexpr (L::kBytes == 1) {
      return multiply_bytes(lane.d, a, b);
    } else {
      return hn::Mul(a, b);
    }
  }

 private:
  // Multiplies even and odd bytes apart, in 16-bit lanes: there is no vector multiply of bytes.
  template <class D, class V>
  static HWY_INLINE V multiply_bytes(D d, V a, V b) {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(d, static_cast<uint8_t>(hn::GetLane(a) * hn::GetLane(b)));
#else
    const hn::RepartitionToWide<D> d16;
    const auto low_byte = hn::Set(d16, uint16_t{0x00FF});
    const auto a16 = hn::BitCast(d16, a);
    const auto b16 = hn::BitCast(d16, b);
    const auto even = hn::And(hn::Mul(a16, b16), low_byte);
    const auto odd = hn::ShiftLeft<8>(hn::Mul(hn::ShiftRight<8>(a16), hn::ShiftRight<8>(b16)));
    return hn::BitCast(d, hn::Or(even, odd));
#endif
  }
};

struct Max {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::Max(a, b);
  }
};
struct Min {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::Min(a, b);
  }
};
struct BitAnd {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::And(a, b);
  }
};
struct BitOr {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::Or(a, b);
  }
};
struct BitXor {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V b) {
    return hn::Xor(a, b);
  }
};

template <class T, class Op>
void run(const ReduceCall& call, bool is_signed = std::is_signed_v<T>) {
  fold<IntegerLane<T>, Op>(call, IntegerLane<T>{{}, call.divisor, is_signed});
}

// The operators that only wrap: T unsigned, `is_signed` for the division of an average.
template <class T>
void run_wrapping(const ReduceCall& call, bool is_signed) {
  if (call.op == ReduceOp::kSum) return run<T, Sum>(call, is_signed);
  return run<T, Prod>(call, is_signed);
}

template <class T>
void run_ordered(const ReduceCall& call) {
  if (call.op == ReduceOp::kMax) return run<T, Max>(call);
  return run<T, Min>(call);
}

void run_bitwise(const ReduceCall& call) {
  ReduceCall bytes = call;
  bytes.count = call.count * size_of(call.dtype);
  if (call.op == ReduceOp::kBand) return run<uint8_t, BitAnd>(bytes);
  if (call.op == ReduceOp::kBor) return run<uint8_t, BitOr>(bytes);
  return run<uint8_t, BitXor>(bytes);
}

template <class T>
void run_type(const ReduceCall& call) {
  if (call.op == ReduceOp::kSum || call.op == ReduceOp::kProd) {
    return run_wrapping<std::make_unsigned_t<T>>(call, std::is_signed_v<T>);
  }
  return run_ordered<T>(call);
}

void reduce_integer_simd(const ReduceCall& call) {
  const bool is_bitwise =
      call.op == ReduceOp::kBand || call.op == ReduceOp::kBor || call.op == ReduceOp::kBxor;
  if (is_bitwise && call.divisor == 0) return run_bitwise(call);
  TUTTI_CHECK(!is_bitwise, "bitwise operators have no average");
  switch (call.dtype) {
    case DataType::kInt8:
      return run_type<int8_t>(call);
    case DataType::kUint8:
      return run_type<uint8_t>(call);
    case DataType::kInt16:
      return run_type<int16_t>(call);
    case DataType::kUint16:
      return run_type<uint16_t>(call);
    case DataType::kInt32:
      return run_type<int32_t>(call);
    case DataType::kUint32:
      return run_type<uint32_t>(call);
    case DataType::kInt64:
      return run_type<int64_t>(call);
    case DataType::kUint64:
      return run_type<uint64_t>(call);
    default:
      TUTTI_CHECK(false, "not an integer type");
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {

HWY_EXPORT(reduce_integer_simd);
void reduce_integer(const ReduceCall& call) { HWY_DYNAMIC_DISPATCH(reduce_integer_simd)(call); }

}  // namespace tutti
#endif
