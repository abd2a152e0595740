// From times to rows of the selector's table.
#include "bench/perf/selection.h"

#include <gtest/gtest.h>
#include <utility>

namespace perf {
namespace {

using tutti::MachineClass;
using tutti::SelectionRow;

const tutti::Algorithm* reduce(const char* name) {
  return tutti::find_algorithm(tutti::Collective::kReduce, name);
}

// Batches of one round of the two algorithms of a reduce, of which "direct" is the present choice.
Contest contest_of(size_t bytes, const std::vector<double>& direct,
                   const std::vector<double>& binomial) {
  Contest contest{bytes, reduce("direct"), {}};
  contest.contenders.push_back({reduce("direct"), {direct}});
  contest.contenders.push_back({reduce("binomial"), {binomial}});
  return contest;
}

TEST(SelectionTest, GainIsTheMedianOfPairs) {
  // The machine became three times as slow in the middle, for both alike.
  const Contest contest = contest_of(8, {10, 30, 30}, {8, 24, 15});
  EXPECT_DOUBLE_EQ(gain(contest, contest.contenders[0]).median, 1);
  EXPECT_DOUBLE_EQ(gain(contest, contest.contenders[1]).median, 1.25);
}

TEST(SelectionTest, TheCurrentChoiceStaysWithinTheMargin) {
  EXPECT_EQ(winner(contest_of(8, {100, 100, 100}, {96, 96, 96})), reduce("direct"));
  EXPECT_EQ(winner(contest_of(8, {100, 100, 100}, {94, 94, 94})), reduce("binomial"));
  EXPECT_EQ(winner(contest_of(8, {100, 100, 100}, {50, 98, 99})), reduce("direct"))
      << "one batch is no proof";
}

TEST(SelectionTest, EveryRoundMustAgree) {
  Contest contest = contest_of(8, {100, 100}, {50, 50});
  contest.contenders[0].batch_us.push_back({60, 60});
  contest.contenders[1].batch_us.push_back({60, 60});
  EXPECT_DOUBLE_EQ(gain(contest, contest.contenders[1]).least, 1);
  EXPECT_DOUBLE_EQ(gain(contest, contest.contenders[1]).median, 1.5);
  EXPECT_EQ(winner(contest), reduce("direct")) << "it may be where the ranks ran";
  contest.contenders[0].batch_us[1] = {70, 70};
  EXPECT_EQ(winner(contest), reduce("binomial"));
}

TEST(SelectionTest, TheFastestOfSeveralWins) {
  const auto find = [](const char* name) {
    return tutti::find_algorithm(tutti::Collective::kBroadcast, name);
  };
  Contest contest{8, find("direct"), {}};
  for (const auto& [name, us] :
       {std::pair("chain", 50.0), std::pair("direct", 100.0), std::pair("binomial", 60.0)}) {
    contest.contenders.push_back({find(name), {std::vector<double>(3, us)}});
  }
  EXPECT_EQ(winner(contest), find("chain"));
}

TEST(SelectionTest, RowsEndWhereTheChoiceWasLastMeasured) {
  const std::vector<Contest> contests = {contest_of(8, {10}, {5}), contest_of(32, {10}, {5}),
                                         contest_of(128, {10}, {10}), contest_of(4096, {10}, {20})};
  const std::vector<SelectionRow> rows = rows_of(MachineClass::kCrowded, 8, contests);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_STREQ(rows[0].algorithm, "binomial");
  EXPECT_EQ(rows[0].most_bytes, 32u);
  EXPECT_EQ(rows[0].most_ranks, 8);
  EXPECT_EQ(rows[0].machine, MachineClass::kCrowded);
  EXPECT_STREQ(rows[1].algorithm, "direct");
  EXPECT_EQ(rows[1].most_bytes, tutti::kAnyBytes) << "the last one is for what is larger, too";
  EXPECT_TRUE(rows_of(MachineClass::kCores, 2, {}).empty());
}

TEST(SelectionTest, RowsReadAsInTheSource) {
  using tutti::Collective;
  EXPECT_EQ(source_of({MachineClass::kCrowded, Collective::kReduceScatter, 8, 16384, "halving"}),
            "{kCrowded, Collective::kReduceScatter, 8, 16 * kKi, \"halving\"},");
  EXPECT_EQ(source_of({MachineClass::kCores, Collective::kAllReduce, 2, 1024, "one_shot"}),
            "{kCores, Collective::kAllReduce, 2, kKi, \"one_shot\"},");
  EXPECT_EQ(source_of({MachineClass::kCores, Collective::kGather, 2, 1500, "direct"}),
            "{kCores, Collective::kGather, 2, 1500, \"direct\"},");
  EXPECT_EQ(source_of({MachineClass::kCores, Collective::kGather, tutti::kAnyRanks,
                       tutti::kAnyBytes, "direct"}),
            "{kCores, Collective::kGather, kAnyRanks, kAnyBytes, \"direct\"},");
}

}  // namespace
}  // namespace perf
