// What a reduction must return, computed one element at a time and as plainly as possible, without
// any code of the library's kernels: the yardstick of the kernel tests and of the end-to-end tests.
//
// Rules: docs/numbers.md. Elements are folded from source 0 upward; for
// a collective, source r is rank r's input. Thread-safe: no state. Expects the default
// floating-point environment.
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/base/types.h"

namespace tutti {

// The value of a stored f16, bf16, e4m3, e5m2 or f32 (bits in the low part). Exact.
float reference_to_float(DataType dtype, uint32_t bits);

// The stored form of `value` in one of the same types: nearest even, NaN is the canonical one.
uint32_t reference_from_float(DataType dtype, float value);

enum class ReferenceRounding {
  kOnce,   // 8- and 16-bit floats stay f32 until the end
  kPerHop  // they are rounded after every source, as when a partial result travels
};

struct ReferenceCall {
  void* dst;  // may equal a source
  const void* const* src;
  int nsrc;
  size_t count;
  DataType dtype;
  ReduceOp op;  // kAvg divides the sum by `divisor`; kPreMulSum sums round(scalar * source)
  uint32_t divisor = 0;          // 0: none, and for kAvg: nsrc
  const void* scalar = nullptr;  // one element of dtype, for kPreMulSum
  ReferenceRounding rounding = ReferenceRounding::kOnce;
};
void reference_reduce(const ReferenceCall& call);

// dst[i] = src[i] * scalar, rounded once.
void reference_scale(void* dst, const void* src, size_t count, DataType dtype, const void* scalar);

}  // namespace tutti
