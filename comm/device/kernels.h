// Reduction, conversion and copy kernels of the host, behind run-time SIMD dispatch (Highway).
//
// Numbers (docs/numbers.md): integers wrap; float min/max propagate NaN and
// order -0 < +0; a NaN result is the canonical quiet NaN; 8- and 16-bit floats accumulate in f32
// and are rounded once (nearest even) at the end of the call; e4m3 overflow saturates to 448 and
// Inf becomes NaN; e5m2 overflows to Inf; subnormals are never flushed. Every SIMD target gives the
// same bits. Thread-safe: no state.
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/base/types.h"

namespace tutti {

enum class Stores : uint8_t {
  kCached,    // the result will be read soon
  kStreaming  // non-temporal: it will not, and it is larger than the caches
};

// dst[j][i] = fold(op, src[0][i], ..., src[nsrc-1][i]) for every j < ndst, i < count: a left fold
// in the accumulation type, rounded once. One pass: each source element is loaded once and each
// destination element stored once. With nsrc == 1 only non-canonical values change: NaNs become the
// quiet NaN, bools 0 or 1.
// A destination may be exactly equal to a source; other overlaps are the caller's bug.
// `divisor` 0: none. Else the fold is divided by it before rounding (avg): true division for
// floats, truncation toward zero for integers. `op` is kSum for avg; kAvg and kPreMulSum are not
// folds. Any alignment. 1 <= nsrc, 1 <= ndst. (dtype, op) must be is_defined().
struct ReduceCall {
  const void* const* src;
  int nsrc;
  void* const* dst;
  int ndst;
  size_t count;
  DataType dtype;
  ReduceOp op;
  uint32_t divisor;
  Stores stores;
  uint32_t threads = 1;  // that may share the work of Device::reduce(); the kernels use one
};
void reduce(const ReduceCall& call);

// dst[j] = src for every j < ndst: bytes, one pass.
void copy(const void* src, void* const* dst, int ndst, size_t bytes, Stores stores);

// dst[i] = src[i] * scalar, rounded once to dtype (floats only; f32 arithmetic for narrower types).
// `scalar` points at one element of dtype. dst may equal src.
void scale(void* dst, const void* src, size_t count, DataType dtype, const void* scalar);

// dst[i] = src[i] as f32, for f16, bf16, e4m3 and e5m2. Exact; a NaN becomes the canonical one.
void widen(float* dst, const void* src, size_t count, DataType dtype);

// dst[i] = src[i] rounded to dtype (f16, bf16, e4m3 or e5m2).
void narrow(void* dst, const float* src, size_t count, DataType dtype);

// Name of the SIMD target in use, e.g. "AVX3". All that this machine can run, and how tests choose
// one: simd_target.h.
const char* simd_target();

}  // namespace tutti
