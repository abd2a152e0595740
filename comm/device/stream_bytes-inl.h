// A copy of bytes with non-temporal stores, for one SIMD target at a time.
#if defined(TUTTI_COMM_DEVICE_STREAM_BYTES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TUTTI_COMM_DEVICE_STREAM_BYTES_INL_H_
#undef TUTTI_COMM_DEVICE_STREAM_BYTES_INL_H_
#else
#define TUTTI_COMM_DEVICE_STREAM_BYTES_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <hwy/highway.h>

#include "comm/device/fold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// `dst` lies on a cache line. Each store right after its load: loads in bunches are slower.
// kPrefetch: bytes that lie `ahead` of those copied will be wanted soon. Returns the bytes copied;
// the rest is less than four vectors.
template <bool kPrefetch>
HWY_INLINE size_t stream_lines(const uint8_t* src, uint8_t* dst, size_t bytes, ptrdiff_t ahead) {
  const hn::ScalableTag<uint8_t> d;
  const size_t n = hn::Lanes(d);
  size_t at = 0;
  for (; at + 4 * n <= bytes; at += 4 * n) {
    if constexpr (kPrefetch) {
      for (size_t line = 0; line < 4 * n; line += kStreamAlign) {
        hwy::Prefetch(src + at + ahead + line);
      }
    }
    hn::Stream(hn::LoadU(d, src + at), d, dst + at);
    hn::Stream(hn::LoadU(d, src + at + n), d, dst + at + n);
    hn::Stream(hn::LoadU(d, src + at + 2 * n), d, dst + at + 2 * n);
    hn::Stream(hn::LoadU(d, src + at + 3 * n), d, dst + at + 3 * n);
  }
  return at;
}

// Any alignment. The caller calls hwy::FlushStream() before it publishes the result.
template <bool kPrefetch>
HWY_NOINLINE void stream_bytes(const uint8_t* src, uint8_t* dst, size_t bytes, ptrdiff_t ahead) {
  if (bytes == 0) return;
  size_t at = 0;
  if (kHasVectors) {
    at = elements_to_alignment(dst, 1, bytes);
    std::memcpy(dst, src, at);
    at += stream_lines<kPrefetch>(src + at, dst + at, bytes - at, ahead);
  }
  std::memcpy(dst + at, src + at, bytes - at);
}

}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#endif  // TUTTI_COMM_DEVICE_STREAM_BYTES_INL_H_
