// Quantised rows, one block after the other, as the contract states them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/expert/oracle.h"

namespace tutti::oracle {
namespace {

constexpr int64_t kBlock = 128;
constexpr float kSmallestAmax = 1e-4f;
constexpr float kLargestE4m3 = 448.0f;

struct Block {
  const float* values;
  int64_t count;
  uint8_t* q;
};

bool all_finite(const Block& b) {
  return std::all_of(b.values, b.values + b.count, [](float v) { return std::isfinite(v); });
}

float largest_magnitude(const Block& b) {
  float amax = 0;
  for (int64_t i = 0; i < b.count; ++i) amax = std::max(amax, std::fabs(b.values[i]));
  return amax;
}

// The smallest power of two that is not below `value`, which is normal and far from the largest.
float power_of_two_above(float value) {
  int exponent = 0;
  const float mantissa = std::frexp(value, &exponent);  // in [0.5, 1)
  return std::ldexp(1.0f, mantissa == 0.5f ? exponent - 1 : exponent);
}

// Reading: 1e-4 is the f32 nearest to it; POW2 rounds up the f32 quotient amax / 448.
float quantise_fp8(const Block& b, bool pow2) {
  float scale = std::max(largest_magnitude(b), kSmallestAmax) / kLargestE4m3;
  if (pow2) scale = power_of_two_above(scale);
  for (int64_t i = 0; i < b.count; ++i) b.q[i] = to_e4m3(b.values[i] / scale);
  return scale;
}

// Reading: a scale that underflows to zero is like amax = 0.
float quantise_int8(const Block& b) {
  const float scale = largest_magnitude(b) / 127.0f;
  for (int64_t i = 0; i < b.count; ++i) {
    float q = 0;
    if (scale > 0) q = std::clamp(std::nearbyint(b.values[i] / scale), -127.0f, 127.0f);
    b.q[i] = static_cast<uint8_t>(static_cast<int8_t>(q));
  }
  return scale;
}

// Reading: the scale of a block with a NaN or infinity is the canonical NaN, and its q bytes are 0.
float quantise_block(Quant quant, const Block& b) {
  if (!all_finite(b)) {
    std::fill(b.q, b.q + b.count, uint8_t{0});
    return std::numeric_limits<float>::quiet_NaN();
  }
  if (quant == Quant::kInt8Token) return quantise_int8(b);
  return quantise_fp8(b, quant == Quant::kFp8Block128Pow2);
}

}  // namespace

Quantised quantise(Quant quant, tuttiDataType_t dtype, const std::vector<uint8_t>& x,
                   int64_t hidden) {
  const std::vector<float> values = unpack(dtype, x);
  require(hidden > 0 && values.size() % hidden == 0, "the input is not [T][hidden]");
  const bool per_token = quant == Quant::kInt8Token;
  const int64_t block = per_token ? hidden : kBlock;
  Quantised out;
  out.q.resize(values.size());
  out.scales = (hidden + block - 1) / block;
  for (size_t row = 0; row < values.size(); row += hidden) {
    for (int64_t first = 0; first < hidden; first += block) {
      const int64_t count = std::min(block, hidden - first);
      out.scale.push_back(
          quantise_block(quant, {&values[row + first], count, &out.q[row + first]}));
    }
  }
  return out;
}

double dequantised(Quant quant, uint8_t q, float scale) {
  const double value = quant == Quant::kInt8Token
                           ? double{static_cast<float>(static_cast<int8_t>(q))}
                           : double{from_e4m3(q)};
  return value * double{scale};
}

double quantisation_bound(Quant quant, double v, float scale) {
  const double magnitude = std::fabs(v);
  const double slack = magnitude * 0x1p-22;
  if (quant != Quant::kInt8Token) {
    return std::max(magnitude / 16, double{scale} * 0x1p-10) + slack;
  }
  if (scale < std::numeric_limits<float>::min()) return std::max(magnitude, double{scale});
  return double{scale} / 2 + slack;
}

}  // namespace tutti::oracle
