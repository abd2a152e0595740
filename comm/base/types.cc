#include "comm/base/types.h"

#include <array>

#include "comm/base/check.h"

namespace tutti {
namespace {

// Indexed by DataType and ReduceOp.
constexpr std::array<const char*, kNumDataTypes> kDataTypeNames = {
    "i8",  "u8",   "i16", "u16", "i32",     "u32",     "i64", "u64",
    "f16", "bf16", "f32", "f64", "fp8e4m3", "fp8e5m2", "bool"};
constexpr std::array<const char*, kNumReduceOps> kReduceOpNames = {
    "sum", "prod", "max", "min", "avg", "band", "bor", "bxor", "premul"};

template <typename Enum, typename Names>
const char* name_in(const Names& names, Enum value) {
  const auto index = static_cast<size_t>(value);
  TUTTI_CHECK(index < names.size(), "types and operators are validated where they enter");
  return names[index];
}

template <typename Enum, typename Names>
std::optional<Enum> find_by_name(const Names& names, std::string_view name) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (name == names[i]) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace

const char* name_of(DataType dtype) { return name_in(kDataTypeNames, dtype); }

const char* name_of(ReduceOp op) { return name_in(kReduceOpNames, op); }

std::optional<DataType> parse_data_type(std::string_view name) {
  return find_by_name<DataType>(kDataTypeNames, name);
}

std::optional<ReduceOp> parse_reduce_op(std::string_view name) {
  return find_by_name<ReduceOp>(kReduceOpNames, name);
}

}  // namespace tutti
