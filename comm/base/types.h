// Data types and reduction operators: sizes, names, and which pairs are defined.
//
// Values equal tuttiDataType_t and tuttiRedOp_t of the public header (static_assert in comm/api).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tutti {

enum class DataType : uint8_t {
  kInt8 = 0,
  kUint8,
  kInt16,
  kUint16,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kFloat16,
  kBfloat16,
  kFloat32,
  kFloat64,
  kFloat8e4m3,
  kFloat8e5m2,
  kBool,
};
inline constexpr int kNumDataTypes = 15;

enum class ReduceOp : uint8_t {
  kSum = 0,
  kProd,
  kMax,
  kMin,
  kAvg,
  kBand,
  kBor,
  kBxor,
  kPreMulSum,
};
inline constexpr int kNumReduceOps = 9;

const char* name_of(DataType dtype);  // "f32", "bf16", ... static storage
const char* name_of(ReduceOp op);     // "sum", "avg", ...
std::optional<DataType> parse_data_type(std::string_view name);
std::optional<ReduceOp> parse_reduce_op(std::string_view name);

// Bytes of one element.
constexpr size_t size_of(DataType dtype) {
  constexpr uint8_t kBytes[kNumDataTypes] = {1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8, 1, 1, 1};
  return kBytes[static_cast<size_t>(dtype)];
}

// Any width, fp8 included.
constexpr bool is_float(DataType dtype) {
  return dtype >= DataType::kFloat16 && dtype <= DataType::kFloat8e5m2;
}

// Whether (dtype, op) is defined (docs/numbers.md): bitwise operators on floats, avg and premul on
// bool, premul on integers are refused; every other cell is right.
constexpr bool is_defined(DataType dtype, ReduceOp op) {
  switch (op) {
    case ReduceOp::kBand:
    case ReduceOp::kBor:
    case ReduceOp::kBxor:
      return !is_float(dtype);
    case ReduceOp::kAvg:
      return dtype != DataType::kBool;
    case ReduceOp::kPreMulSum:
      return is_float(dtype);
    default:
      return true;
  }
}

}  // namespace tutti
