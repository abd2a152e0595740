#include "bench/perf/values.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace perf {

using tutti::DataType;
using tutti::ReduceOp;

namespace {

// A mixer of 64 bits (the finaliser of SplitMix64).
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t hash(int rank, uint64_t index, uint64_t salt) {
  return mix(index * 131 + static_cast<uint64_t>(rank) + mix(salt));
}

// A binary float of 8 or 16 bits.
struct SmallFloat {
  int exponent_bits;
  int mantissa_bits;
  unsigned largest;  // code of the largest finite value
};

const SmallFloat* small_float(DataType dtype) {
  static const SmallFloat kHalf{5, 10, 0x7bff};
  static const SmallFloat kBrain{8, 7, 0x7f7f};
  static const SmallFloat kE4m3{4, 3, 0x7e};
  static const SmallFloat kE5m2{5, 2, 0x7b};
  switch (dtype) {
    case DataType::kFloat16:
      return &kHalf;
    case DataType::kBfloat16:
      return &kBrain;
    case DataType::kFloat8e4m3:
      return &kE4m3;
    case DataType::kFloat8e5m2:
      return &kE5m2;
    default:
      return nullptr;
  }
}

double value_of(const SmallFloat& f, unsigned code) {  // of a code without sign
  const int bias = (1 << (f.exponent_bits - 1)) - 1;
  const auto exponent = static_cast<int>(code >> f.mantissa_bits);
  const unsigned mantissa = code & ((1u << f.mantissa_bits) - 1);
  if (exponent == 0) return std::ldexp(mantissa, 1 - bias - f.mantissa_bits);
  return std::ldexp(mantissa + (1u << f.mantissa_bits), exponent - bias - f.mantissa_bits);
}

// The code nearest to `value`, an even one when two are. Codes grow with their values.
unsigned nearest_code(const SmallFloat& f, double value) {
  const double magnitude = std::fabs(value);
  unsigned low = 0;
  unsigned high = f.largest;
  while (low < high) {  // the largest code that is not above
    const unsigned middle = (low + high + 1) / 2;
    if (value_of(f, middle) <= magnitude) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  if (low < f.largest) {
    const double below = magnitude - value_of(f, low);
    const double above = value_of(f, low + 1) - magnitude;
    if (above < below || (above == below && low % 2 == 1)) ++low;
  }
  const unsigned sign = std::signbit(value) ? 1u << (f.exponent_bits + f.mantissa_bits) : 0;
  return low | sign;
}

// Whole numbers up to this are exact in the type, with either sign where it has one.
int64_t exact_limit(DataType dtype) {
  if (const SmallFloat* f = small_float(dtype)) return int64_t{2} << f->mantissa_bits;
  return dtype == DataType::kInt8 || dtype == DataType::kUint8 ? 100 : 1 << 14;
}

bool has_sign(DataType dtype) {
  switch (dtype) {
    case DataType::kUint8:
    case DataType::kUint16:
    case DataType::kUint32:
    case DataType::kUint64:
    case DataType::kBool:
      return false;
    default:
      return true;
  }
}

bool is_bitwise(ReduceOp op) {
  return op == ReduceOp::kBand || op == ReduceOp::kBor || op == ReduceOp::kBxor;
}

// The operand of an arithmetic operator.
int64_t operand(const Case& c, int rank, int nranks, uint64_t index, uint64_t salt) {
  const uint64_t random = hash(rank, index, salt);
  if (c.dtype == DataType::kBool) return static_cast<int64_t>(random % 2);
  const bool negative = has_sign(c.dtype) && (random >> 32) % 2 == 1;
  // Which of the ranks may have more than the others, another one at each index.
  const auto turn = (static_cast<uint64_t>(rank) + index + salt) % static_cast<uint64_t>(nranks);
  if (c.op == ReduceOp::kProd) {  // never 0: a product -0 has other bits than 0
    const int64_t magnitude = turn == 0 ? 2 : 1;
    return negative ? -magnitude : magnitude;
  }
  const int64_t limit = exact_limit(c.dtype);
  const int64_t largest = std::clamp<int64_t>(limit / nranks, 1, 60);
  if (nranks > limit && turn >= static_cast<uint64_t>(limit)) return 0;
  const auto magnitude = static_cast<int64_t>(random % static_cast<uint64_t>(largest + 1));
  return negative ? -magnitude : magnitude;
}

double combine(ReduceOp op, double a, double b) {
  switch (op) {
    case ReduceOp::kProd:
      return a * b;
    case ReduceOp::kMax:
      return std::max(a, b);
    case ReduceOp::kMin:
      return std::min(a, b);
    default:
      return a + b;
  }
}

double average(DataType dtype, double sum, int nranks) {
  if (!tutti::is_float(dtype)) return std::trunc(sum / nranks);
  if (dtype == DataType::kFloat64) return sum / nranks;
  return static_cast<float>(sum) / static_cast<float>(nranks);
}

double reduce_numbers(const Case& c, int nranks, uint64_t index, uint64_t salt) {
  auto result = static_cast<double>(operand(c, 0, nranks, index, salt));
  for (int rank = 1; rank < nranks; ++rank) {
    result = combine(c.op, result, static_cast<double>(operand(c, rank, nranks, index, salt)));
  }
  if (c.op == ReduceOp::kAvg) return average(c.dtype, result, nranks);
  // bool: any of them true, or all.
  return c.dtype == DataType::kBool ? static_cast<double>(result != 0) : result;
}

uint64_t bits_of(const Case& c, int rank, uint64_t index, uint64_t salt) {
  const uint64_t random = hash(rank, index, salt);
  return c.dtype == DataType::kBool ? random % 2 : random;
}

uint64_t reduce_bits(const Case& c, int nranks, uint64_t index, uint64_t salt) {
  uint64_t result = bits_of(c, 0, index, salt);
  for (int rank = 1; rank < nranks; ++rank) {
    const uint64_t bits = bits_of(c, rank, index, salt);
    if (c.op == ReduceOp::kBand) result &= bits;
    if (c.op == ReduceOp::kBor) result |= bits;
    if (c.op == ReduceOp::kBxor) result ^= bits;
  }
  return result;
}

template <typename T>
void write_as(double value, void* out) {
  const T converted = static_cast<T>(value);
  std::memcpy(out, &converted, sizeof converted);
}

}  // namespace

void write_number(DataType dtype, double value, void* out) {
  switch (dtype) {
    case DataType::kInt8:
      return write_as<int8_t>(value, out);
    case DataType::kUint8:
    case DataType::kBool:
      return write_as<uint8_t>(value, out);
    case DataType::kInt16:
      return write_as<int16_t>(value, out);
    case DataType::kUint16:
      return write_as<uint16_t>(value, out);
    case DataType::kInt32:
      return write_as<int32_t>(value, out);
    case DataType::kUint32:
      return write_as<uint32_t>(value, out);
    case DataType::kInt64:
      return write_as<int64_t>(value, out);
    case DataType::kUint64:
      return write_as<uint64_t>(value, out);
    case DataType::kFloat32:
      return write_as<float>(value, out);
    case DataType::kFloat64:
      return write_as<double>(value, out);
    default: {
      // 8 or 16 bits; little endian, as everything here.
      const unsigned code = nearest_code(*small_float(dtype), value);
      std::memcpy(out, &code, tutti::size_of(dtype));
    }
  }
}

void write_input(const Case& c, int rank, int nranks, uint64_t index, uint64_t salt, void* out) {
  if (has_operator(c.collective) && !is_bitwise(c.op)) {
    write_number(c.dtype, static_cast<double>(operand(c, rank, nranks, index, salt)), out);
    return;
  }
  const uint64_t bits = bits_of(c, rank, index, salt);
  std::memcpy(out, &bits, tutti::size_of(c.dtype));
}

void write_reduced(const Case& c, int nranks, uint64_t index, uint64_t salt, void* out) {
  if (!is_bitwise(c.op)) {
    write_number(c.dtype, reduce_numbers(c, nranks, index, salt), out);
    return;
  }
  const uint64_t bits = reduce_bits(c, nranks, index, salt);
  std::memcpy(out, &bits, tutti::size_of(c.dtype));
}

}  // namespace perf
