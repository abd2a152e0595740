#include "comm/base/status.h"

#include <gtest/gtest.h>
#include <set>
#include <string>

#include "comm/base/check.h"

namespace tutti {
namespace {

TEST(Status, SuccessIsEmpty) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.code(), Code::kOk);
  EXPECT_EQ(status.text(), "");
}

TEST(Status, FailureKeepsItsTextThroughCopyAndMove) {
  const Status status = error(Code::kTimeout, "rank %d waited for rank %d", 1, 2);
  Status moved = status;
  EXPECT_EQ(moved.text(), "rank 1 waited for rank 2");
  const Status target = std::move(moved);
  EXPECT_EQ(target.code(), Code::kTimeout);
  EXPECT_EQ(target.text(), "rank 1 waited for rank 2");
  EXPECT_EQ(status.text(), target.text());
}

TEST(Status, CopyOverFailureReplacesIt) {
  Status status = error(Code::kAborted, "first");
  status = Status();
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.text(), "");
  const Status& self = status;
  status = self;
  EXPECT_TRUE(status.ok());
}

TEST(Status, SelfAssignmentKeepsTheText) {
  Status status = error(Code::kAborted, "once");
  const Status& self = status;
  status = self;
  EXPECT_EQ(status.text(), "once");
}

TEST(Status, LongTextIsNotCut) {
  const std::string text(10000, 'x');
  EXPECT_EQ(error(Code::kSystemError, "%s", text.c_str()).text(), text);
}

TEST(Status, EveryCodeHasItsOwnName) {
  std::set<std::string> names;
  for (int code = 0; code < kNumCodes; ++code) names.insert(code_name(static_cast<Code>(code)));
  EXPECT_EQ(names.size(), static_cast<size_t>(kNumCodes));
  EXPECT_STREQ(code_name(static_cast<Code>(kNumCodes)), "unknown result code");
  EXPECT_STREQ(code_name(static_cast<Code>(-1)), "unknown result code");
}

TEST(Result, HoldsAValueOrAFailure) {
  Result<int> good = 7;
  EXPECT_TRUE(good.ok());
  EXPECT_TRUE(good.status().ok());
  EXPECT_EQ(good.value(), 7);
  const Result<int> bad = error(Code::kUnsupported, "no");
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.status().text(), "no");
}

Status try_twice(const Status& first, bool* reached) {
  TUTTI_TRY(first);
  *reached = true;
  return {};
}

TEST(Result, TryReturnsTheFailureAndPassesSuccess) {
  bool reached = false;
  EXPECT_EQ(try_twice(error(Code::kMismatch, "m"), &reached).code(), Code::kMismatch);
  EXPECT_FALSE(reached);
  EXPECT_TRUE(try_twice(Status(), &reached).ok());
  EXPECT_TRUE(reached);
}

TEST(CheckDeathTest, SaysWhereWhatAndWhy) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const int one = 1;
  TUTTI_CHECK(one == 1, "holds");
  EXPECT_DEATH(TUTTI_CHECK(one == 2, "arithmetic"),
               "internal check failed at .*status_test.cc:[0-9]+: one == 2 \\(arithmetic\\)");
}

}  // namespace
}  // namespace tutti
