// The loop of every reduction kernel, for one SIMD target at a time (included once per target).
//
// A *lane* policy says how elements of one dtype are loaded, finished and stored:
//   D                accumulator tag;  kBytes: bytes of one stored element
//   load(p)          one vector of accumulators from any address
//   encode(v)        the finished accumulator as the vector to store: division, rounding, NaN
//   store(r, p), and store4/stream4(r0, r1, r2, r3, p) for four consecutive ones; stream4 is
//   non-temporal and wants p on a cache line
// An *op* policy combines two accumulators; kIsSum asks for the special case of two sources. Each
// source element is loaded once and each destination element stored once; tails go through a small
// zeroed buffer, so that there is one way to compute an element and no access outside the arrays.
// No state.
#if defined(TUTTI_COMM_DEVICE_FOLD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TUTTI_COMM_DEVICE_FOLD_INL_H_
#undef TUTTI_COMM_DEVICE_FOLD_INL_H_
#else
#define TUTTI_COMM_DEVICE_FOLD_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "comm/device/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Non-temporal stores fill whole cache lines only when they start at one.
constexpr size_t kStreamAlign = 64;

// False for targets that only emulate vectors: special cases would cost code and gain nothing.
constexpr bool kHasVectors = HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128;

HWY_INLINE const uint8_t* bytes_of(const void* p) { return static_cast<const uint8_t*>(p); }
HWY_INLINE uint8_t* bytes_of(void* p) { return static_cast<uint8_t*>(p); }

HWY_INLINE bool is_stream_aligned(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % kStreamAlign == 0;
}

// Elements before the first one of `dst` that lies on a cache line; 0 when none ever does.
HWY_INLINE size_t elements_to_alignment(const void* dst, size_t element_bytes, size_t count) {
  size_t past = reinterpret_cast<uintptr_t>(dst) % kStreamAlign;
  size_t missing = (kStreamAlign - past) % kStreamAlign;
  if (missing % element_bytes != 0) return 0;
  return std::min(count, missing / element_bytes);
}

// The stores of lanes whose stored vectors are full ones.
template <class D, class T, class V>
HWY_INLINE void store_four(D d, V r0, V r1, V r2, V r3, T* p) {
  const size_t n = hn::Lanes(d);
  hn::StoreU(r0, d, p);
  hn::StoreU(r1, d, p + n);
  hn::StoreU(r2, d, p + 2 * n);
  hn::StoreU(r3, d, p + 3 * n);
}
template <class D, class T, class V>
HWY_INLINE void stream_four(D d, V r0, V r1, V r2, V r3, T* p) {
  const size_t n = hn::Lanes(d);
  hn::Stream(r0, d, p);
  hn::Stream(r1, d, p + n);
  hn::Stream(r2, d, p + 2 * n);
  hn::Stream(r3, d, p + 3 * n);
}

// Targets whose masked loads and stores touch nothing but what the mask names.
constexpr bool kHasMasks = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2;

// n < one vector of elements: under a mask where the lane has one, else through buffers.
template <class Lane, class Op>
HWY_NOINLINE void fold_partial(const ReduceCall& call, const Lane& lane, size_t at, size_t n) {
  const size_t offset = at * Lane::kBytes;
  if constexpr (requires { lane.load_first(bytes_of(call.src[0]), n); }) {
    auto acc = lane.load_first(bytes_of(call.src[0]) + offset, n);
    for (int s = 1; s < call.nsrc; ++s) {
      acc = Op::apply(lane, acc, lane.load_first(bytes_of(call.src[s]) + offset, n));
    }
    const auto result = lane.encode(acc);
    for (int j = 0; j < call.ndst; ++j) {
      lane.store_first(result, bytes_of(call.dst[j]) + offset, n);
    }
    return;
  }
  HWY_ALIGN uint8_t buffer[HWY_MAX_BYTES] = {};
  const size_t bytes = n * Lane::kBytes;
  std::memcpy(buffer, bytes_of(call.src[0]) + offset, bytes);
  auto acc = lane.load(buffer);
  for (int s = 1; s < call.nsrc; ++s) {
    std::memcpy(buffer, bytes_of(call.src[s]) + offset, bytes);
    acc = Op::apply(lane, acc, lane.load(buffer));
  }
  lane.store(lane.encode(acc), buffer);
  for (int j = 0; j < call.ndst; ++j) std::memcpy(bytes_of(call.dst[j]) + offset, buffer, bytes);
}

// The part [begin, end) of any fold, in blocks of four vectors.
template <class Lane, class Op>
HWY_NOINLINE void fold_many(const ReduceCall& call, const Lane& lane, size_t begin, size_t end,
                            bool streaming) {
  const size_t step = lane.lanes() * Lane::kBytes;
  size_t at = begin * Lane::kBytes;
  const size_t stop = end * Lane::kBytes;
  for (; at + 4 * step <= stop; at += 4 * step) {
    const uint8_t* s = bytes_of(call.src[0]) + at;
    auto a0 = lane.load(s);
    auto a1 = lane.load(s + step);
    auto a2 = lane.load(s + 2 * step);
    auto a3 = lane.load(s + 3 * step);
    for (int k = 1; k < call.nsrc; ++k) {
      s = bytes_of(call.src[k]) + at;
      a0 = Op::apply(lane, a0, lane.load(s));
      a1 = Op::apply(lane, a1, lane.load(s + step));
      a2 = Op::apply(lane, a2, lane.load(s + 2 * step));
      a3 = Op::apply(lane, a3, lane.load(s + 3 * step));
    }
    const auto r0 = lane.encode(a0);
    const auto r1 = lane.encode(a1);
    const auto r2 = lane.encode(a2);
    const auto r3 = lane.encode(a3);
    for (int j = 0; j < call.ndst; ++j) {
      uint8_t* d = bytes_of(call.dst[j]) + at;
      if (streaming && is_stream_aligned(d)) {
        lane.stream4(r0, r1, r2, r3, d);
      } else {
        lane.store4(r0, r1, r2, r3, d);
      }
    }
  }
  for (; at + step <= stop; at += step) {
    auto acc = lane.load(bytes_of(call.src[0]) + at);
    for (int k = 1; k < call.nsrc; ++k) {
      acc = Op::apply(lane, acc, lane.load(bytes_of(call.src[k]) + at));
    }
    const auto result = lane.encode(acc);
    for (int j = 0; j < call.ndst; ++j) lane.store(result, bytes_of(call.dst[j]) + at);
  }
  if (at < stop) {
    fold_partial<Lane, Op>(call, lane, at / Lane::kBytes, (stop - at) / Lane::kBytes);
  }
}

// The common cases, a sum of two sources to one or two destinations: all addresses stay in
// registers. Returns where it stopped; fold_many does the rest.
template <bool kStreaming, int kDst, class Lane, class Op>
HWY_NOINLINE size_t fold_two(const ReduceCall& call, const Lane& lane, size_t begin, size_t end) {
  const size_t n = lane.lanes();
  const size_t step = n * Lane::kBytes;
  const uint8_t* s = bytes_of(call.src[0]) + begin * Lane::kBytes;
  const uint8_t* t = bytes_of(call.src[1]) + begin * Lane::kBytes;
  uint8_t* d = bytes_of(call.dst[0]) + begin * Lane::kBytes;
  uint8_t* e = bytes_of(call.dst[kDst - 1]) + begin * Lane::kBytes;
  size_t i = begin;
  for (; i + 4 * n <= end; i += 4 * n) {
    const auto r0 = lane.encode(Op::apply(lane, lane.load(s), lane.load(t)));
    const auto r1 = lane.encode(Op::apply(lane, lane.load(s + step), lane.load(t + step)));
    const auto r2 = lane.encode(Op::apply(lane, lane.load(s + 2 * step), lane.load(t + 2 * step)));
    const auto r3 = lane.encode(Op::apply(lane, lane.load(s + 3 * step), lane.load(t + 3 * step)));
    if (kStreaming) {
      lane.stream4(r0, r1, r2, r3, d);
      if (kDst == 2) lane.stream4(r0, r1, r2, r3, e);
    } else {
      lane.store4(r0, r1, r2, r3, d);
      if (kDst == 2) lane.store4(r0, r1, r2, r3, e);
    }
    s += 4 * step;
    t += 4 * step;
    d += 4 * step;
    e += 4 * step;
  }
  return i;
}

// Streams when all destinations are on a cache line at `begin`; otherwise fold_many, which decides
// for each, does better.
template <int kDst, class Lane, class Op>
HWY_INLINE size_t fold_two_to(const ReduceCall& call, const Lane& lane, size_t begin,
                              bool streaming) {
  if (!streaming) return fold_two<false, kDst, Lane, Op>(call, lane, begin, call.count);
  for (int j = 0; j < kDst; ++j) {
    if (!is_stream_aligned(bytes_of(call.dst[j]) + begin * Lane::kBytes)) return begin;
  }
  return fold_two<true, kDst, Lane, Op>(call, lane, begin, call.count);
}

// For "folds" of one source: copies and scaling go through the same loop.
struct NoOperator {
  static constexpr bool kIsSum = false;
  template <class L, class V>
  static HWY_INLINE V apply(const L& /*lane*/, V a, V /*b*/) {
    return a;
  }
};

template <class Lane, class Op>
HWY_INLINE void fold(const ReduceCall& call, const Lane& lane) {
  const bool streaming = call.stores == Stores::kStreaming;
  size_t begin = 0;
  if (streaming) {
    begin = elements_to_alignment(call.dst[0], Lane::kBytes, call.count);
    if (begin > 0) fold_many<Lane, Op>(call, lane, 0, begin, false);
  }
  if constexpr (kHasVectors && Op::kIsSum) {
    if (call.nsrc == 2 && call.ndst == 1) {
      begin = fold_two_to<1, Lane, Op>(call, lane, begin, streaming);
    } else if (call.nsrc == 2 && call.ndst == 2) {
      begin = fold_two_to<2, Lane, Op>(call, lane, begin, streaming);
    }
  }
  if (begin < call.count) fold_many<Lane, Op>(call, lane, begin, call.count, streaming);
  // The caller publishes the result with an ordinary release store, which does not order
  // non-temporal stores by itself.
  if (streaming) hwy::FlushStream();
}

}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#endif  // TUTTI_COMM_DEVICE_FOLD_INL_H_
