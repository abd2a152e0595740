// Copies of bytes to one or several destinations, in one pass over the source.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "comm/device/kernels.h"
#include "comm/device/simd_config.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/device/copy.cc"
#include <hwy/foreach_target.h>  // NOLINT: includes this file once per target
#include <hwy/highway.h>

#include "comm/device/fold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

struct ByteLane {
  using D = hn::ScalableTag<uint8_t>;
  static constexpr size_t kBytes = 1;
  D d;

  HWY_INLINE size_t lanes() const { return hn::Lanes(d); }
  HWY_INLINE hn::Vec<D> load(const uint8_t* p) const { return hn::LoadU(d, p); }
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

// Large copies to one destination. Each store right after its load: loads in bunches are slower.
// `dst` lies on a cache line. Returns the bytes copied.
HWY_NOINLINE size_t stream_lines(const uint8_t* src, uint8_t* dst, size_t bytes) {
  const ByteLane lane{};
  const size_t n = lane.lanes();
  size_t at = 0;
  for (; at + 4 * n <= bytes; at += 4 * n) {
    hn::Stream(lane.load(src + at), lane.d, dst + at);
    hn::Stream(lane.load(src + at + n), lane.d, dst + at + n);
    hn::Stream(lane.load(src + at + 2 * n), lane.d, dst + at + 2 * n);
    hn::Stream(lane.load(src + at + 3 * n), lane.d, dst + at + 3 * n);
  }
  return at;
}

void copy_simd(const ReduceCall& call) {
  if (!kHasVectors || call.ndst != 1 || call.stores != Stores::kStreaming) {
    return fold<ByteLane, NoOperator>(call, ByteLane());
  }
  const uint8_t* src = bytes_of(call.src[0]);
  uint8_t* dst = bytes_of(call.dst[0]);
  size_t at = elements_to_alignment(dst, 1, call.count);
  std::memcpy(dst, src, at);
  at += stream_lines(src + at, dst + at, call.count - at);
  fold_many<ByteLane, NoOperator>(call, ByteLane(), at, call.count, true);
  hwy::FlushStream();
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {

HWY_EXPORT(copy_simd);

namespace {

// Above this memcpy of common C libraries turns to non-temporal stores by itself, which is wrong
// for a result that will be read soon; below it, it is as good as a copy gets.
constexpr size_t kMemcpyLimit = size_t{1} << 20;

}  // namespace

void copy(const void* src, void* const* dst, int ndst, size_t bytes, Stores stores) {
  if (ndst == 1 && src == dst[0]) return;
  if (ndst == 1 && stores == Stores::kCached && bytes <= kMemcpyLimit) {
    if (bytes > 0) std::memcpy(dst[0], src, bytes);
    return;
  }
  HWY_DYNAMIC_DISPATCH(copy_simd)
  ({&src, 1, dst, ndst, bytes, DataType::kUint8, ReduceOp::kSum, 0, stores});
}

}  // namespace tutti
#endif
