// The harness against made-up systems: what is asked, how batches are taken in turns, what becomes
// of the answers.
#include "bench/perf/measure.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>

#include "bench/perf/report.h"
#include "bench/perf/table.h"

namespace perf {
namespace {

using tutti::Result;

// Two ranks; a call takes rank 1 `us`, rank 0 half of that.
class Made : public System {
 public:
  Made(std::string name, double us, std::vector<std::string>* log)
      : System(std::move(name)), us_(us), log_(log) {
    for (int r = 0; r < 2; ++r) ranks_.push_back({r, 2, 100 + r, "0-1", "9.9"});
  }
  Result<std::vector<std::string>> ask(const std::string& command) override {
    log_->push_back(name_ + ": " + command.substr(0, command.find(' ')));
    const double calls = std::atof(command.c_str() + std::min(command.size(), size_t{6}));
    std::vector<std::string> answers(2, "ready");
    if (command.rfind("case", 0) == 0 && lacking) answers.assign(2, "no such type");
    if (command.rfind("check", 0) == 0) answers = {"wrong 0", "wrong " + std::to_string(wrong)};
    if (command.rfind("batch", 0) == 0) answers = {done(calls, 0.5), done(calls, 1)};
    if (command.rfind("single", 0) == 0) {
      answers.assign(2, "times");
      for (int i = 0; i < std::atoi(command.c_str() + 7); ++i) {
        for (std::string& answer : answers) answer += " " + std::to_string(us_ * 1e-6);
      }
    }
    return answers;
  }
  tutti::Status quit() override { return {}; }

  void share_process() { ranks_[1].pid = ranks_[0].pid; }

  bool lacking = false;
  int wrong = 0;

 private:
  std::string done(double calls, double factor) const {
    char text[80];
    std::snprintf(text, sizeof text, "done %.9f %.9f", calls * us_ * factor * 1e-6,
                  calls * us_ * factor * 1e-6);
    return text;
  }
  double us_;
  std::vector<std::string>* log_;
};

struct Stage {
  Stage() {
    options.collectives = {Collective::kAllReduce};
    options.batches = 3;
    c.count = 1000;
    for (const auto& [name, us] :
         {std::pair<const char*, double>{"tutti", 100}, {"gloo", 250}, {"limit", 50}}) {
      auto system = std::make_unique<Made>(name, us, &log);
      made.push_back(system.get());
      systems.push_back(std::move(system));
    }
  }
  Options options;
  Case c;
  std::vector<std::string> log;
  Systems systems;
  std::vector<Made*> made;
};

TEST(MeasureTest, SlowestRankAndRatioToTheBestPeer) {
  Stage stage;
  const auto result = measure(stage.c, stage.systems, stage.options);
  ASSERT_TRUE(result.ok()) << result.status().text();
  const Row& row = *result.value().rows[0];
  EXPECT_NEAR(row.p50_us, 100, 0.01);
  EXPECT_NEAR(row.p99_us, 100, 0.01);
  EXPECT_NEAR(row.cpu_us, 150, 0.01);  // both processes
  EXPECT_NEAR(row.algbw_gbs, 4000 / 100.0 * 1e-3, 1e-6);
  EXPECT_NEAR(row.busbw_gbs, row.algbw_gbs, 1e-9);
  EXPECT_EQ(row.wrong, 0u);
  EXPECT_NEAR(*result.value().ratio, 2.5, 0.001);  // the limit is no peer
}

TEST(MeasureTest, RanksThatAreThreadsShareTheirProcessorTime) {
  Stage stage;
  stage.made[0]->share_process();
  const auto result = measure(stage.c, stage.systems, stage.options);
  EXPECT_NEAR(result.value().rows[0]->cpu_us, 100, 0.01);
}

TEST(MeasureTest, BatchesAreTakenInTurns) {
  Stage stage;
  stage.options.iterations = 10;
  ASSERT_TRUE(measure(stage.c, stage.systems, stage.options).ok());
  const auto last = std::find_if(stage.log.rbegin(), stage.log.rend(), [](const std::string& line) {
    return line.find("batch") != std::string::npos;
  });
  std::vector<std::string> batches;
  for (auto it = last; batches.size() < 9; ++it) batches.push_back(it->substr(0, it->find(':')));
  std::reverse(batches.begin(), batches.end());
  EXPECT_EQ(batches, (std::vector<std::string>{"tutti", "gloo", "limit", "gloo", "limit", "tutti",
                                               "limit", "tutti", "gloo"}));
}

TEST(MeasureTest, WrongElementsOfAllRanksAndChecksCount) {
  Stage stage;
  stage.made[1]->wrong = 3;
  const auto result = measure(stage.c, stage.systems, stage.options);
  EXPECT_EQ(result.value().rows[1]->wrong, 6u);  // checked before and after the batches
  stage.options.check = false;
  EXPECT_FALSE(measure(stage.c, stage.systems, stage.options).value().rows[1]->wrong.has_value());
}

TEST(MeasureTest, WhatAPeerLacksIsNoRow) {
  Stage stage;
  stage.made[1]->lacking = true;
  const auto result = measure(stage.c, stage.systems, stage.options);
  EXPECT_FALSE(result.value().rows[1].has_value());
  EXPECT_FALSE(result.value().ratio.has_value());
  const std::string line = table_line(result.value(), stage.systems);
  EXPECT_NE(line.find("n/a"), std::string::npos);
  const std::string json = to_json({result.value()}, stage.systems, stage.options);
  EXPECT_EQ(json.find("\"system\": \"gloo\""), std::string::npos);
  EXPECT_NE(json.find("\"system\": \"limit\""), std::string::npos);
}

TEST(MeasureTest, TableColumnsLieUnderTheirHeads) {
  Stage stage;
  const auto result = measure(stage.c, stage.systems, stage.options);
  const std::string head = table_head(stage.c, stage.systems, stage.options);
  const std::string line = table_line(result.value(), stage.systems);
  const size_t last_head = head.rfind('\n', head.size() - 2) + 1;
  for (size_t i = 0; i + 1 < line.size(); ++i) {
    EXPECT_EQ(line[i] == '|', head[last_head + i] == '|') << i << "\n" << head << line;
  }
}

TEST(MeasureTest, Percentiles) {
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({4, 1, 2, 3}), 2.5);
  std::vector<double> values;
  for (int i = 1; i <= 200; ++i) values.push_back(i);
  EXPECT_DOUBLE_EQ(percentile(values, 99), 198);
  EXPECT_DOUBLE_EQ(percentile({7}, 99), 7);
}

}  // namespace
}  // namespace perf
