// Conversions of narrow floats, by bits, and the random numbers of the generator.
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numbers>

#include "tests/expert/oracle.h"

namespace tutti::oracle {
namespace {

constexpr uint32_t kInfinity32 = 0x7F800000u;

float nan32() { return std::numeric_limits<float>::quiet_NaN(); }

// value / 2^shift, nearest even.
uint32_t round_shift(uint32_t value, uint32_t shift) {
  if (shift == 0) return value;
  if (shift > 31) return 0;  // below half: value has at most 31 bits here
  const uint32_t quotient = value >> shift;
  const uint32_t rest = value & ((1u << shift) - 1);
  const uint32_t half = 1u << (shift - 1);
  const bool up = rest > half || (rest == half && (quotient & 1) != 0);
  return quotient + (up ? 1 : 0);
}

// The code of the non-negative finite f32 with these bits in a format with its own exponent bias,
// as if the format had no end. A carry out of the mantissa runs into the exponent, as it should.
uint32_t narrow(uint32_t bits, uint32_t bias, uint32_t mantissa_bits) {
  const uint32_t exponent = bits >> 23;
  if (exponent + bias > 127) {
    return round_shift(bits - ((127 - bias) << 23), 23 - mantissa_bits);
  }
  // Subnormal there. The value is mantissa * 2^(exponent - 150), the format's smallest number
  // 2^(1 - bias - mantissa_bits).
  if (exponent == 0) return 0;  // subnormal here: far below both formats
  const uint32_t mantissa = (bits & 0x7FFFFFu) | 0x800000u;
  return round_shift(mantissa, 151 - bias - mantissa_bits - exponent);
}

// A number of a format whose smallest subnormal is 2^-scale.
float widen(uint32_t exponent, uint32_t mantissa, uint32_t mantissa_bits, int scale) {
  if (exponent == 0) return std::ldexp(static_cast<float>(mantissa), -scale);
  const uint32_t hidden = 1u << mantissa_bits;
  return std::ldexp(static_cast<float>(mantissa + hidden), static_cast<int>(exponent) - 1 - scale);
}

}  // namespace

void require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "oracle: %s\n", what);
  std::abort();
}

float from_bf16(uint16_t code) {
  const float value = std::bit_cast<float>(uint32_t{code} << 16);
  return std::isnan(value) ? nan32() : value;
}

float from_f16(uint16_t code) {
  const uint32_t exponent = code >> 10 & 0x1F;
  const uint32_t mantissa = code & 0x3FF;
  const float sign = (code & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent < 0x1F) return sign * widen(exponent, mantissa, 10, 24);
  return mantissa != 0 ? nan32() : sign * std::numeric_limits<float>::infinity();
}

float from_e4m3(uint8_t code) {
  const float sign = (code & 0x80) != 0 ? -1.0f : 1.0f;
  if ((code & 0x7F) == 0x7F) return nan32();
  return sign * widen(code >> 3 & 0xF, code & 7, 3, 9);
}

uint16_t to_bf16(float value) {
  if (std::isnan(value)) return 0x7FC0;
  const auto bits = std::bit_cast<uint32_t>(value);
  // The exponents are the same, so that overflow rounds up to infinity by itself.
  return static_cast<uint16_t>((bits >> 31) << 15 | round_shift(bits & 0x7FFFFFFFu, 16));
}

uint16_t to_f16(float value) {
  if (std::isnan(value)) return 0x7E00;
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t code = narrow(bits & 0x7FFFFFFFu, 15, 10);
  return static_cast<uint16_t>((bits >> 31) << 15 | (code < 0x7C00 ? code : 0x7C00));
}

uint8_t to_e4m3(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) >= kInfinity32) return 0x7F;
  const uint32_t code = narrow(bits & 0x7FFFFFFFu, 7, 3);
  return static_cast<uint8_t>((bits >> 31) << 7 | (code < 0x7E ? code : 0x7E));
}

size_t bytes_of(tuttiDataType_t dtype) {
  require(dtype == tuttiBfloat16 || dtype == tuttiFloat16 || dtype == tuttiFloat32,
          "rows that are computed with are bf16, f16 or f32");
  return dtype == tuttiFloat32 ? 4 : 2;
}

float load(tuttiDataType_t dtype, const uint8_t* from) {
  if (bytes_of(dtype) == 4) {
    float value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  uint16_t code;
  std::memcpy(&code, from, sizeof code);
  return dtype == tuttiBfloat16 ? from_bf16(code) : from_f16(code);
}

void store(tuttiDataType_t dtype, uint8_t* to, float value) {
  if (bytes_of(dtype) == 4) {
    if (std::isnan(value)) value = nan32();
    std::memcpy(to, &value, sizeof value);
    return;
  }
  const uint16_t code = dtype == tuttiBfloat16 ? to_bf16(value) : to_f16(value);
  std::memcpy(to, &code, sizeof code);
}

float round_to(tuttiDataType_t dtype, float value) {
  uint8_t stored[4];
  store(dtype, stored, value);
  return load(dtype, stored);
}

double unit_roundoff(tuttiDataType_t dtype) {
  if (bytes_of(dtype) == 4) return 0x1p-24;
  return dtype == tuttiBfloat16 ? 0x1p-8 : 0x1p-11;
}

std::vector<float> unpack(tuttiDataType_t dtype, const std::vector<uint8_t>& from) {
  const size_t bytes = bytes_of(dtype);
  std::vector<float> values(from.size() / bytes);
  for (size_t i = 0; i < values.size(); ++i) values[i] = load(dtype, from.data() + i * bytes);
  return values;
}

std::vector<uint8_t> pack(tuttiDataType_t dtype, const std::vector<float>& from) {
  const size_t bytes = bytes_of(dtype);
  std::vector<uint8_t> stored(from.size() * bytes);
  for (size_t i = 0; i < from.size(); ++i) store(dtype, stored.data() + i * bytes, from[i]);
  return stored;
}

uint64_t Random::next() {
  // splitmix64
  state += 0x9e3779b97f4a7c15u;
  uint64_t x = state;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

float Random::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return static_cast<float>(radius * std::cos(2 * std::numbers::pi * uniform()));
}

}  // namespace tutti::oracle
