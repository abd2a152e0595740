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
#include "comm/device/stream_bytes-inl.h"

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

void copy_simd(const ReduceCall& call) {
  if (!kHasVectors || call.ndst != 1 || call.stores != Stores::kStreaming) {
    return fold<ByteLane, NoOperator>(call, ByteLane());
  }
  stream_bytes<false>(bytes_of(call.src[0]), bytes_of(call.dst[0]), call.count, 0);
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

// Below this the source stays in the first cache while it is copied to one place after the other.
constexpr size_t kManyLimit = size_t{16} << 10;

}  // namespace

void copy(const void* src, void* const* dst, int ndst, size_t bytes, Stores stores) {
  if (ndst == 1 && src == dst[0]) return;
  if (stores == Stores::kCached && bytes <= (ndst == 1 ? kMemcpyLimit : kManyLimit)) {
    for (int i = 0; i < ndst && bytes > 0; ++i) {
      if (dst[i] != src) std::memcpy(dst[i], src, bytes);
    }
    return;
  }
  HWY_DYNAMIC_DISPATCH(copy_simd)
  ({&src, 1, dst, ndst, bytes, DataType::kUint8, ReduceOp::kSum, 0, stores});
}

}  // namespace tutti
#endif
