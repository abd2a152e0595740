// Jobs in which nothing goes wrong: collectives, messages and subgroups between processes.
#include <algorithm>
#include <gtest/gtest.h>

#include "tests/launch/scenario.h"

namespace tutti {
namespace {

void expect_right(const Finished& job) {
  for (const Outcome& o : job.outcomes) EXPECT_EQ(o.status, 0) << o.text;
  for (const std::string& report : job.reports) {
    const std::string said = report.substr(report.find('\n') + 1);
    EXPECT_EQ(said, "right\nend 0 \n");
  }
}

class DataTest : public testing::TestWithParam<std::string> {};

TEST_P(DataTest, TwoRanks) { expect_right(run_scenario(GetParam(), 2, "sum")); }

TEST_P(DataTest, FiveRanks) { expect_right(run_scenario(GetParam(), 5, "sum")); }

// What a worker process does with it that was forked meanwhile, concerns nobody else.
TEST_P(DataTest, MemoryThatExistsAlready) { expect_right(run_scenario(GetParam(), 3, "remap")); }

INSTANTIATE_TEST_SUITE_P(Transports, DataTest, testing::ValuesIn(transports_to_test()),
                         [](const auto& p) { return p.param; });

TEST(SplitHost, GoesOnOverTheNextTransport) {
  const std::vector<std::string> there = transports_to_test();
  if (std::find(there.begin(), there.end(), "gloo") == there.end()) GTEST_SKIP() << "no other";
  const Finished job = run_on_split_host(3, "sum");
  expect_right(job);
  EXPECT_NE(job.outcomes[0].text.find("not over shm: rank 0"), std::string::npos) << text_of(job);
}

TEST(LauncherTest, TuttiRunAndTheTransportThatIsPicked) {
  expect_right(run_under_tutti_run(3, "sum"));
}

}  // namespace
}  // namespace tutti
