// What quantising a row must give, an element at a time and as plainly as possible, without any
// code of the kernels. Rules: comm/device/row_quantise.h. Expects the default floating-point
// environment.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "comm/base/types.h"
#include "comm/device/row_quantise.h"
#include "tests/device/row_test_data.h"
#include "tests/support/scalar_reference.h"

namespace tutti {

struct ReferenceRow {
  std::vector<uint8_t> values;
  std::vector<float> scales;
};

inline float reference_scale_of(RowQuant quant, float amax) {
  if (!std::isfinite(amax)) return std::numeric_limits<float>::quiet_NaN();
  if (quant == RowQuant::kInt8Token) return amax / 127.0f;
  const float scale = (amax > 1e-4f ? amax : 1e-4f) / 448.0f;
  if (quant == RowQuant::kFp8Block128) return scale;
  int exponent = 0;
  return std::frexp(scale, &exponent) == 0.5f ? scale : std::ldexp(1.0f, exponent);
}

inline uint8_t reference_value_of(RowQuant quant, float v, float scale) {
  if (std::isnan(scale) || scale == 0) return 0;
  const float quotient = v / scale;
  if (quant != RowQuant::kInt8Token) {
    return static_cast<uint8_t>(reference_from_float(DataType::kFloat8e4m3, quotient));
  }
  const float rounded = std::nearbyint(quotient);
  const float held = rounded > 127 ? 127.0f : rounded < -127 ? -127.0f : rounded;
  return static_cast<uint8_t>(static_cast<int8_t>(held));
}

inline ReferenceRow reference_quantise(RowQuant quant, const uint8_t* row, size_t hidden,
                                       DataType dtype) {
  const size_t length = quant == RowQuant::kInt8Token ? std::max<size_t>(hidden, 1) : 128;
  ReferenceRow result;
  if (quant == RowQuant::kInt8Token && hidden == 0) result.scales.push_back(0);
  for (size_t begin = 0; begin < hidden; begin += length) {
    const size_t end = std::min(hidden, begin + length);
    float amax = 0;
    for (size_t i = begin; i < end; ++i) {
      const float v = std::fabs(load_float(row, i, dtype));
      if (!(v <= amax)) amax = v;
      if (std::isnan(amax)) break;
    }
    const float scale = reference_scale_of(quant, amax);
    result.scales.push_back(scale);
    for (size_t i = begin; i < end; ++i) {
      result.values.push_back(reference_value_of(quant, load_float(row, i, dtype), scale));
    }
  }
  return result;
}

inline float reference_widen(RowQuant quant, uint8_t value) {
  if (quant == RowQuant::kInt8Token) return static_cast<int8_t>(value);
  return reference_to_float(DataType::kFloat8e4m3, value);
}

// The stored form of the product, a row.
inline std::vector<uint8_t> reference_dequantise(RowQuant quant, const ReferenceRow& row,
                                                 DataType dtype) {
  std::vector<uint8_t> result(row.values.size() * size_of(dtype));
  for (size_t i = 0; i < row.values.size(); ++i) {
    const float scale = row.scales[quant == RowQuant::kInt8Token ? 0 : i / 128];
    store_float(result.data(), i, dtype, reference_widen(quant, row.values[i]) * scale);
  }
  return result;
}

}  // namespace tutti
