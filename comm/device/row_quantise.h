// Rows of bf16, f16 or f32 as 1-byte values with f32 scales, and back.
//
// The stored scale multiplies: v ~= q * scale. All arithmetic is f32, every operation rounded to
// nearest even, in this order:
//   magnitudes  amax = the largest |v|, exact
//   fp8         per 128 elements (the last block may be shorter): s = max(amax, 1e-4f) / 448;
//               q = e4m3 of (v / s), nearest even
//   fp8, pow2   the same, but s is raised to the next power of two unless it is one
//   int8        per row: s = amax / 127; q = rint(v / s), ties to even, held within -127..127;
//               q = 0 where s == 0
// A NaN or an infinity among the elements of a scale makes that scale the canonical NaN and all
// their q zero. A quotient that is zero keeps its sign in e4m3.
// Back: the f32 product q * scale, rounded to the type; a NaN is the canonical one.
// |q * scale - v| <= max(|v| / 16, scale / 1024) for fp8, <= scale / 2 for int8, but for the
// rounding of the f32 operations and, int8, unless the scale is subnormal (amax < 2^-119).
//
// Every SIMD target gives the same bits, whatever floating-point environment the caller has.
// Any alignment. Thread-safe: no state.
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/base/types.h"
#include "comm/device/kernels.h"
#include "comm/device/row_list.h"

namespace tutti {

enum class RowQuant : uint8_t {
  kNone,             // rows travel as they are
  kForward,          // so do the caller's own values and scales: bytes to this layer
  kFp8Block128,      // e4m3, a scale per 128 elements
  kFp8Block128Pow2,  // the same with powers of two as scales
  kInt8Token         // i8, one scale per row
};

inline constexpr size_t kRowQuantBlock = 128;  // elements that share an fp8 scale

// Whether the kernels below compute it.
constexpr bool is_computed(RowQuant quant) { return quant >= RowQuant::kFp8Block128; }

// f32 scales of a row of `hidden` elements; 0 where there are none, or the caller's own.
constexpr size_t scales_per_row(RowQuant quant, size_t hidden) {
  if (quant == RowQuant::kInt8Token) return 1;
  return is_computed(quant) ? (hidden + kRowQuantBlock - 1) / kRowQuantBlock : 0;
}

// Bytes of one element of a row once quantised, `dtype` before.
constexpr size_t bytes_per_element(RowQuant quant, DataType dtype) {
  return is_computed(quant) ? 1 : size_of(dtype);
}

// Values and scales of row i go to values[i] and scales[i]: `hidden` bytes, and scales_per_row()
// f32.
struct QuantiseRows {
  RowQuant quant;  // a computed one
  DataType dtype;  // of the source: bf16, f16 or f32
  size_t hidden;
  size_t rows;
  SourceRows src;
  TargetRows values;
  TargetRows scales;
  Stores stores;  // of the values; rows that do not begin on a cache line are never streamed
};
void quantise_rows(const QuantiseRows& call);

struct DequantiseRows {
  RowQuant quant;
  DataType dtype;  // of the result
  size_t hidden;
  size_t rows;
  SourceRows values;
  SourceRows scales;
  TargetRows dst;
  Stores stores;
};
void dequantise_rows(const DequantiseRows& call);

}  // namespace tutti
