#include "tests/support/scalar_reference.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "comm/base/check.h"

namespace tutti {
namespace {

struct Format {
  int exponent_bits;
  int mantissa_bits;
  bool has_infinity;
};

Format format_of(DataType dtype) {
  switch (dtype) {
    case DataType::kFloat16:
      return {5, 10, true};
    case DataType::kBfloat16:
      return {8, 7, true};
    case DataType::kFloat8e4m3:
      return {4, 3, false};
    case DataType::kFloat8e5m2:
      return {5, 2, true};
    default:
      TUTTI_CHECK(dtype == DataType::kFloat32, "no format of this type");
      return {8, 23, true};
  }
}

int bias_of(const Format& f) { return (1 << (f.exponent_bits - 1)) - 1; }
uint32_t sign_bit_of(const Format& f) { return 1u << (f.exponent_bits + f.mantissa_bits); }
uint32_t top_exponent_of(const Format& f) { return (1u << f.exponent_bits) - 1; }

uint32_t canonical_nan(const Format& f) {
  if (!f.has_infinity) return sign_bit_of(f) - 1;
  return top_exponent_of(f) << f.mantissa_bits | 1u << (f.mantissa_bits - 1);
}

// Code of what finite values beyond the range become.
uint32_t overflow_code(const Format& f) {
  return f.has_infinity ? top_exponent_of(f) << f.mantissa_bits : sign_bit_of(f) - 2;
}

// The code of a positive finite value.
uint32_t encode_magnitude(const Format& f, double value) {
  const int bias = bias_of(f);
  int exponent = value == 0 ? 1 - bias : std::max(std::ilogb(value), 1 - bias);
  // In units of the last mantissa bit; nearbyint rounds ties to even.
  double units = std::nearbyint(std::ldexp(value, f.mantissa_bits - exponent));
  if (units == std::ldexp(1.0, f.mantissa_bits + 1)) {  // rounded up to the next power of two
    ++exponent;
    units /= 2;
  }
  const auto mantissa = static_cast<uint32_t>(units);
  const uint32_t hidden = 1u << f.mantissa_bits;
  if (mantissa < hidden) return mantissa;  // zero or subnormal
  const uint64_t code = (uint64_t(exponent + bias) << f.mantissa_bits) + (mantissa - hidden);
  const uint32_t limit = overflow_code(f);
  return code < limit ? static_cast<uint32_t>(code) : limit;
}

// Elements as plain numbers: floats of up to 32 bits as float, f64 as double, integers as 64 bits.

uint64_t load_bits(const void* p, size_t bytes) {
  uint64_t bits = 0;
  std::memcpy(&bits, p, bytes);  // little endian
  return bits;
}

bool is_signed(DataType dtype) {
  return dtype == DataType::kInt8 || dtype == DataType::kInt16 || dtype == DataType::kInt32 ||
         dtype == DataType::kInt64;
}

// `bits` cut to the width of dtype and extended to 64 bits according to its sign.
uint64_t wrap(DataType dtype, uint64_t bits) {
  const size_t width = 8 * size_of(dtype);
  if (width == 64) return bits;
  bits &= (uint64_t{1} << width) - 1;
  const uint64_t sign = uint64_t{1} << (width - 1);
  return is_signed(dtype) && (bits & sign) != 0 ? bits | ~(sign | (sign - 1)) : bits;
}

bool integer_less(DataType dtype, uint64_t a, uint64_t b) {
  return is_signed(dtype) ? static_cast<int64_t>(a) < static_cast<int64_t>(b) : a < b;
}

uint64_t combine_integer(DataType dtype, ReduceOp op, uint64_t a, uint64_t b) {
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
      return wrap(dtype, a + b);
    case ReduceOp::kProd:
      return wrap(dtype, a * b);
    case ReduceOp::kMax:
      return integer_less(dtype, a, b) ? b : a;
    case ReduceOp::kMin:
      return integer_less(dtype, a, b) ? a : b;
    case ReduceOp::kBand:
      return a & b;
    case ReduceOp::kBor:
      return a | b;
    default:
      TUTTI_CHECK(op == ReduceOp::kBxor, "undefined on integers");
      return wrap(dtype, a ^ b);
  }
}

uint64_t combine_bool(ReduceOp op, uint64_t a, uint64_t b) {
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kMax:
    case ReduceOp::kBor:
      return a != 0 || b != 0;
    case ReduceOp::kProd:
    case ReduceOp::kMin:
    case ReduceOp::kBand:
      return a != 0 && b != 0;
    default:
      TUTTI_CHECK(op == ReduceOp::kBxor, "undefined on bool");
      return (a != 0) != (b != 0);
  }
}

template <typename T>
T combine_float(ReduceOp op, T a, T b) {
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
    case ReduceOp::kPreMulSum:
      return a + b;
    case ReduceOp::kProd:
      return a * b;
    case ReduceOp::kMax:
      if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
      if (a == b) return std::signbit(a) ? b : a;
      return a < b ? b : a;
    default:
      TUTTI_CHECK(op == ReduceOp::kMin, "undefined on floats");
      if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
      if (a == b) return std::signbit(a) ? a : b;
      return b < a ? b : a;
  }
}

float load_float(DataType dtype, const uint8_t* p) {
  return reference_to_float(dtype, static_cast<uint32_t>(load_bits(p, size_of(dtype))));
}

void store_float(DataType dtype, uint8_t* p, float value) {
  const uint32_t bits = reference_from_float(dtype, value);
  std::memcpy(p, &bits, size_of(dtype));
}

double load_double(const uint8_t* p) {
  double value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

void store_double(uint8_t* p, double value) {
  if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
  std::memcpy(p, &value, sizeof value);
}

float round_to(DataType dtype, float value) {
  return reference_to_float(dtype, reference_from_float(dtype, value));
}

const uint8_t* element(const ReferenceCall& call, int source, size_t i) {
  return static_cast<const uint8_t*>(call.src[source]) + i * size_of(call.dtype);
}

uint64_t fold_integer(const ReferenceCall& call, size_t i, uint32_t divisor) {
  const size_t bytes = size_of(call.dtype);
  const bool is_bool = call.dtype == DataType::kBool;
  uint64_t acc = wrap(call.dtype, load_bits(element(call, 0, i), bytes));
  for (int s = 1; s < call.nsrc; ++s) {
    const uint64_t next = wrap(call.dtype, load_bits(element(call, s, i), bytes));
    acc = is_bool ? combine_bool(call.op, acc, next)
                  : combine_integer(call.dtype, call.op, acc, next);
  }
  if (is_bool) return acc != 0 ? 1 : 0;
  if (divisor == 0) return acc;
  if (is_signed(call.dtype)) {
    return static_cast<uint64_t>(static_cast<int64_t>(acc) / int64_t{divisor});
  }
  return acc / divisor;
}

float fold_float(const ReferenceCall& call, size_t i, uint32_t divisor) {
  auto input = [&](int s) {
    const float value = load_float(call.dtype, element(call, s, i));
    if (call.op != ReduceOp::kPreMulSum) return value;
    return round_to(call.dtype,
                    value * load_float(call.dtype, static_cast<const uint8_t*>(call.scalar)));
  };
  float acc = input(0);
  for (int s = 1; s < call.nsrc; ++s) {
    if (s > 1 && call.rounding == ReferenceRounding::kPerHop) acc = round_to(call.dtype, acc);
    acc = combine_float(call.op, acc, input(s));
  }
  return divisor == 0 ? acc : acc / static_cast<float>(divisor);
}

double fold_double(const ReferenceCall& call, size_t i, uint32_t divisor) {
  const bool premul = call.op == ReduceOp::kPreMulSum;
  const double factor = premul ? load_double(static_cast<const uint8_t*>(call.scalar)) : 1;
  double acc = load_double(element(call, 0, i)) * factor;
  for (int s = 1; s < call.nsrc; ++s) {
    acc = combine_float(call.op, acc, load_double(element(call, s, i)) * factor);
  }
  return divisor == 0 ? acc : acc / divisor;
}

}  // namespace

float reference_to_float(DataType dtype, uint32_t bits) {
  const Format f = format_of(dtype);
  const uint32_t mantissa = bits & ((1u << f.mantissa_bits) - 1);
  const uint32_t exponent = bits >> f.mantissa_bits & top_exponent_of(f);
  const float sign = (bits & sign_bit_of(f)) != 0 ? -1.0f : 1.0f;
  if (f.has_infinity && exponent == top_exponent_of(f)) {
    return mantissa != 0 ? std::numeric_limits<float>::quiet_NaN()
                         : sign * std::numeric_limits<float>::infinity();
  }
  if (!f.has_infinity && (bits & (sign_bit_of(f) - 1)) == canonical_nan(f)) {
    return std::numeric_limits<float>::quiet_NaN();
  }
  const uint32_t hidden = exponent == 0 ? 0 : 1u << f.mantissa_bits;
  const int scale = static_cast<int>(exponent == 0 ? 1 : exponent) - bias_of(f) - f.mantissa_bits;
  return sign * static_cast<float>(std::ldexp(double(mantissa + hidden), scale));
}

uint32_t reference_from_float(DataType dtype, float value) {
  const Format f = format_of(dtype);
  if (std::isnan(value)) return canonical_nan(f);
  const uint32_t sign = std::signbit(value) ? sign_bit_of(f) : 0;
  if (std::isinf(value)) return f.has_infinity ? sign | overflow_code(f) : canonical_nan(f);
  return sign | encode_magnitude(f, std::fabs(double{value}));
}

void reference_reduce(const ReferenceCall& call) {
  TUTTI_CHECK(call.nsrc >= 1, "nothing to fold");
  const bool avg = call.op == ReduceOp::kAvg;
  const uint32_t divisor =
      avg && call.divisor == 0 ? static_cast<uint32_t>(call.nsrc) : call.divisor;
  const size_t bytes = size_of(call.dtype);
  for (size_t i = 0; i < call.count; ++i) {
    uint8_t* to = static_cast<uint8_t*>(call.dst) + i * bytes;
    if (call.dtype == DataType::kFloat64) {
      store_double(to, fold_double(call, i, divisor));
    } else if (is_float(call.dtype)) {
      store_float(call.dtype, to, fold_float(call, i, divisor));
    } else {
      const uint64_t bits = fold_integer(call, i, divisor);
      std::memcpy(to, &bits, bytes);
    }
  }
}

void reference_scale(void* dst, const void* src, size_t count, DataType dtype, const void* scalar) {
  ReferenceCall call{dst, &src, 1, count, dtype, ReduceOp::kPreMulSum};
  call.scalar = scalar;
  reference_reduce(call);
}

}  // namespace tutti
