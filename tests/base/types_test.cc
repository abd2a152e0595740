#include "comm/base/types.h"

#include <gtest/gtest.h>
#include <string>

namespace tutti {
namespace {

TEST(Types, NamesAndSizes) {
  // In the order of the enum, written out again so that a swapped row is seen.
  const char* const names[] = {"i8",  "u8",   "i16", "u16", "i32",     "u32",     "i64", "u64",
                               "f16", "bf16", "f32", "f64", "fp8e4m3", "fp8e5m2", "bool"};
  const size_t sizes[] = {1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8, 1, 1, 1};
  for (int i = 0; i < kNumDataTypes; ++i) {
    const auto dtype = static_cast<DataType>(i);
    EXPECT_STREQ(name_of(dtype), names[i]);
    EXPECT_EQ(size_of(dtype), sizes[i]) << names[i];
    EXPECT_EQ(parse_data_type(names[i]), dtype);
    EXPECT_EQ(is_float(dtype), std::string(names[i]).find('f') != std::string::npos) << names[i];
  }
  EXPECT_FALSE(parse_data_type("f31").has_value());
  EXPECT_FALSE(parse_data_type("").has_value());
}

TEST(Types, OperatorNames) {
  const char* const names[] = {"sum", "prod", "max", "min", "avg", "band", "bor", "bxor", "premul"};
  for (int i = 0; i < kNumReduceOps; ++i) {
    const auto op = static_cast<ReduceOp>(i);
    EXPECT_STREQ(name_of(op), names[i]);
    EXPECT_EQ(parse_reduce_op(names[i]), op);
  }
  EXPECT_FALSE(parse_reduce_op("SUM").has_value());
}

// One column per operator, in the order of the enum: '+' defined, '.' refused.
TEST(Types, DefinedTable) {
  const std::string integer = "++++++++.";
  const std::string floating = "+++++...+";
  const std::string boolean = "++++.+++.";
  for (int i = 0; i < kNumDataTypes; ++i) {
    const auto dtype = static_cast<DataType>(i);
    const std::string& row = dtype == DataType::kBool ? boolean
                             : is_float(dtype)        ? floating
                                                      : integer;
    for (int j = 0; j < kNumReduceOps; ++j) {
      const auto op = static_cast<ReduceOp>(j);
      EXPECT_EQ(is_defined(dtype, op), row[static_cast<size_t>(j)] == '+')
          << name_of(dtype) << " " << name_of(op);
    }
  }
}

TEST(TypesDeathTest, ValuesOutsideTheEnumAreBugs) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(name_of(static_cast<DataType>(kNumDataTypes)), "internal check failed");
  EXPECT_DEATH(name_of(static_cast<ReduceOp>(kNumReduceOps)), "internal check failed");
}

}  // namespace
}  // namespace tutti
