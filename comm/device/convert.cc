// Arrays of f16, bf16, e4m3 and e5m2 to f32 and back.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "comm/base/check.h"
#include "comm/device/families.h"
#include "comm/device/simd_config.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/device/convert.cc"
#include <hwy/foreach_target.h>  // NOLINT: includes this file once per target
#include <hwy/highway.h>

#include "comm/device/convert-inl.h"
#include "comm/device/float_ops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

template <class Format>
HWY_NOINLINE void widen_as(float* dst, const uint8_t* src, size_t count) {
  const F32 d;
  const size_t n = hn::Lanes(d);
  size_t i = 0;
  for (; i + n <= count; i += n) {
    hn::StoreU(finish(d, Narrow<Format>::load(d, src + i * Format::kBytes), 0), d, dst + i);
  }
  if (i == count) return;
  HWY_ALIGN uint8_t bits[HWY_MAX_BYTES] = {};
  HWY_ALIGN float values[HWY_MAX_BYTES / sizeof(float)];
  std::memcpy(bits, src + i * Format::kBytes, (count - i) * Format::kBytes);
  hn::StoreU(finish(d, Narrow<Format>::load(d, bits), 0), d, values);
  std::memcpy(dst + i, values, (count - i) * sizeof(float));
}

template <class Format>
HWY_NOINLINE void narrow_as(uint8_t* dst, const float* src, size_t count) {
  using Codec = Narrow<Format>;
  const F32 d;
  const typename Codec::DBits dbits;
  const size_t n = hn::Lanes(d);
  size_t i = 0;
  for (; i + n <= count; i += n) {
    const auto bits = Codec::encode(d, finish(d, hn::LoadU(d, src + i), 0));
    hn::StoreU(bits, dbits, reinterpret_cast<typename Codec::Bits*>(dst + i * Format::kBytes));
  }
  if (i == count) return;
  HWY_ALIGN float values[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN typename Codec::Bits bits[HWY_MAX_BYTES / sizeof(typename Codec::Bits)];
  std::memcpy(values, src + i, (count - i) * sizeof(float));
  hn::StoreU(Codec::encode(d, finish(d, hn::LoadU(d, values), 0)), dbits, bits);
  std::memcpy(dst + i * Format::kBytes, bits, (count - i) * Format::kBytes);
}

void widen_simd(float* dst, const void* src, size_t count, DataType dtype) {
  const uint8_t* s = bytes_of(src);
  switch (dtype) {
    case DataType::kFloat16:
      return widen_as<Float16>(dst, s, count);
    case DataType::kBfloat16:
      return widen_as<Bfloat16>(dst, s, count);
    case DataType::kFloat8e4m3:
      return widen_as<Float8e4m3>(dst, s, count);
    case DataType::kFloat8e5m2:
      return widen_as<Float8e5m2>(dst, s, count);
    default:
      TUTTI_CHECK(false, "not an 8- or 16-bit float");
  }
}

void narrow_simd(void* dst, const float* src, size_t count, DataType dtype) {
  uint8_t* d = bytes_of(dst);
  switch (dtype) {
    case DataType::kFloat16:
      return narrow_as<Float16>(d, src, count);
    case DataType::kBfloat16:
      return narrow_as<Bfloat16>(d, src, count);
    case DataType::kFloat8e4m3:
      return narrow_as<Float8e4m3>(d, src, count);
    case DataType::kFloat8e5m2:
      return narrow_as<Float8e5m2>(d, src, count);
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

HWY_EXPORT(widen_simd);
void widen_floats(float* dst, const void* src, size_t count, DataType dtype) {
  HWY_DYNAMIC_DISPATCH(widen_simd)(dst, src, count, dtype);
}

HWY_EXPORT(narrow_simd);
void narrow_floats(void* dst, const float* src, size_t count, DataType dtype) {
  HWY_DYNAMIC_DISPATCH(narrow_simd)(dst, src, count, dtype);
}

}  // namespace tutti
#endif
