// Weighted sums of rows: what a token's owner makes of the rows that come back for it.
//
// For every element h, in f32 and in this order:
//   acc = bias[0][h] + bias[1][h], of those given; +0 when none is
//   acc = acc + (weights[i] * src[i][h]) for i = 0 .. n-1, the product rounded first (no FMA);
//         without weights acc = acc + src[i][h]
//   dst[h] = acc rounded to the type, nearest even; a NaN is the canonical one
// Each source element is loaded once and each result stored once. Every SIMD target gives the same
// bits, whatever floating-point environment the caller has. Any alignment. Thread-safe: no state.
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/base/types.h"
#include "comm/device/kernels.h"

namespace tutti {

// One result. It may lie exactly on a row of `bias`, or of `src` if the types are equal; other
// overlaps are the caller's bug.
struct RowSum {
  const void* const* src;  // n rows, which may repeat
  const float* weights;    // n, or null
  uint32_t n;              // 0: the bias, or zeros
  const void* bias[2];     // rows of the type of the result, or null
  void* dst;
};

// What the sums of a call have in common. Types: f32, bf16 or f16.
struct RowSumFormat {
  DataType src_type;
  DataType dst_type;
  size_t hidden;  // elements of a row
  Stores stores;
};

void sum_rows(const RowSum* sums, size_t count, const RowSumFormat& format);

}  // namespace tutti
