#include "comm/base/types.h"

#include <array>

#include "comm/base/check.h"

namespace tutti {
namespace {

enum class Family : uint8_t { kInteger, kFloat, kBool };

struct DataTypeInfo {
  const char* name;
  uint8_t size;
  Family family;
};

// Indexed by DataType.
constexpr std::array<DataTypeInfo, kNumDataTypes> kDataTypes = {{
    {"i8", 1, Family::kInteger},
    {"u8", 1, Family::kInteger},
    {"i16", 2, Family::kInteger},
    {"u16", 2, Family::kInteger},
    {"i32", 4, Family::kInteger},
    {"u32", 4, Family::kInteger},
    {"i64", 8, Family::kInteger},
    {"u64", 8, Family::kInteger},
    {"f16", 2, Family::kFloat},
    {"bf16", 2, Family::kFloat},
    {"f32", 4, Family::kFloat},
    {"f64", 8, Family::kFloat},
    {"fp8e4m3", 1, Family::kFloat},
    {"fp8e5m2", 1, Family::kFloat},
    {"bool", 1, Family::kBool},
}};

struct ReduceOpInfo {
  const char* name;
  bool on_integer;
  bool on_float;
  bool on_bool;
};

// Indexed by ReduceOp; which family of data types each operator is defined for.
constexpr std::array<ReduceOpInfo, kNumReduceOps> kReduceOps = {{
    {"sum", true, true, true},
    {"prod", true, true, true},
    {"max", true, true, true},
    {"min", true, true, true},
    {"avg", true, true, false},
    {"band", true, false, true},
    {"bor", true, false, true},
    {"bxor", true, false, true},
    {"premul", false, true, false},
}};

const DataTypeInfo& info(DataType dtype) {
  const auto index = static_cast<size_t>(dtype);
  TUTTI_CHECK(index < kDataTypes.size(), "data types are validated where they enter");
  return kDataTypes[index];
}

const ReduceOpInfo& info(ReduceOp op) {
  const auto index = static_cast<size_t>(op);
  TUTTI_CHECK(index < kReduceOps.size(), "operators are validated where they enter");
  return kReduceOps[index];
}

template <typename Enum, typename Table>
std::optional<Enum> find_by_name(const Table& table, std::string_view name) {
  for (size_t i = 0; i < table.size(); ++i) {
    if (name == table[i].name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace

size_t size_of(DataType dtype) { return info(dtype).size; }

const char* name_of(DataType dtype) { return info(dtype).name; }

const char* name_of(ReduceOp op) { return info(op).name; }

std::optional<DataType> parse_data_type(std::string_view name) {
  return find_by_name<DataType>(kDataTypes, name);
}

std::optional<ReduceOp> parse_reduce_op(std::string_view name) {
  return find_by_name<ReduceOp>(kReduceOps, name);
}

bool is_float(DataType dtype) { return info(dtype).family == Family::kFloat; }

bool is_defined(DataType dtype, ReduceOp op) {
  const ReduceOpInfo& entry = info(op);
  switch (info(dtype).family) {
    case Family::kInteger:
      return entry.on_integer;
    case Family::kFloat:
      return entry.on_float;
    case Family::kBool:
      return entry.on_bool;
  }
  return false;
}

}  // namespace tutti
