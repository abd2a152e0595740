#include "comm/base/log.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace tutti {
namespace {

class LogFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "tutti-log-XXXXXX";
    const int fd = mkstemp(name.data());
    ASSERT_GE(fd, 0);
    close(fd);
    path_ = name;
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::unique_ptr<Logger> open(LogLevel level) {
    Result<std::unique_ptr<Logger>> logger = Logger::open(LogConfig{level, path_});
    EXPECT_TRUE(logger.ok()) << logger.status().text();
    return std::move(logger.value());
  }
  std::string text() const {
    std::ostringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }
  size_t lines() const {
    const std::string all = text();
    return static_cast<size_t>(std::count(all.begin(), all.end(), '\n'));
  }

  std::string path_;
};

TEST_F(LogFile, WritesLevelPrefixAndText) {
  const std::unique_ptr<Logger> logger = open(LogLevel::kInfo);
  const Log log(*logger, "rank 3");
  log.warn("peer %d is %s", 4, "late");
  EXPECT_NE(text().find(" warning: rank 3: peer 4 is late\n"), std::string::npos) << text();
  EXPECT_NE(text().find("tutti[" + std::to_string(getpid()) + "]"), std::string::npos) << text();
  Log(*logger).info("no prefix");
  EXPECT_NE(text().find(" info: no prefix\n"), std::string::npos) << text();
}

TEST_F(LogFile, LevelsLetThroughThemselvesAndWorse) {
  for (int level = 0; level < kNumLogLevels; ++level) {
    std::filesystem::resize_file(path_, 0);
    const std::unique_ptr<Logger> logger = open(static_cast<LogLevel>(level));
    const Log log(*logger);
    log.error("e");
    log.warn("w");
    log.info("i");
    log.debug("d");
    log.trace("t");
    EXPECT_EQ(lines(), static_cast<size_t>(level));
  }
}

TEST_F(LogFile, BracesArePlainText) {
  const std::unique_ptr<Logger> logger = open(LogLevel::kInfo);
  Log(*logger).info("{} {0} %d", 1);  // NOLINT
  EXPECT_NE(text().find("{} {0} 1"), std::string::npos) << text();
}

TEST_F(LogFile, LongTextIsCutNotLost) {
  const std::unique_ptr<Logger> logger = open(LogLevel::kInfo);
  Log(*logger).info("%s", std::string(100'000, 'x').c_str());
  EXPECT_EQ(lines(), 1u);
  EXPECT_GT(text().size(), 4000u);
}

TEST_F(LogFile, WarnOnceIsOncePerKeyWhateverTheView) {
  const std::unique_ptr<Logger> logger = open(LogLevel::kWarn);
  const Log first(*logger, "rank 0");
  const Log second(*logger, "rank 1");
  first.warn_once("slow", "slow %d", 1);
  second.warn_once("slow", "slow %d", 2);
  second.warn_once("odd", "odd");
  EXPECT_EQ(lines(), 2u);
}

TEST_F(LogFile, WarnOnceDroppedByLevelIsNotUsedUp) {
  const std::unique_ptr<Logger> logger = open(LogLevel::kError);
  Log(*logger).warn_once("slow", "slow");
  EXPECT_TRUE(logger->first("slow"));
}

TEST_F(LogFile, ThreadsDoNotMixLines) {
  const std::unique_ptr<Logger> logger = open(LogLevel::kInfo);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 4; ++rank) {
    threads.emplace_back([&logger, rank] {
      const Log log(*logger, "rank " + std::to_string(rank));
      for (int i = 0; i < 50; ++i) log.info("line %d of fifty", i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::istringstream all(text());
  size_t whole = 0;
  for (std::string line; std::getline(all, line);) whole += line.ends_with("of fifty") ? 1 : 0;
  EXPECT_EQ(whole, 200u);
}

TEST_F(LogFile, Appends) {
  Log(*open(LogLevel::kInfo)).info("one");
  Log(*open(LogLevel::kInfo)).info("two");
  EXPECT_EQ(lines(), 2u);
}

TEST(Log, DefaultViewDropsEverything) {
  const Log log;
  EXPECT_FALSE(log.enabled(LogLevel::kError));
  log.error("nowhere");
  log.warn_once("key", "nowhere");
}

TEST(Log, StandardError) {
  testing::internal::CaptureStderr();
  {
    Result<std::unique_ptr<Logger>> logger = Logger::open(LogConfig{});
    ASSERT_TRUE(logger.ok());
    Log(*logger.value(), "rank 0").error("seen");
  }
  EXPECT_NE(testing::internal::GetCapturedStderr().find("error: rank 0: seen"), std::string::npos);
}

TEST(Log, AFileThatCannotBeOpenedIsAFailure) {
  const Result<std::unique_ptr<Logger>> logger =
      Logger::open(LogConfig{LogLevel::kInfo, "/proc/no/such/folder/log"});
  ASSERT_FALSE(logger.ok());
  EXPECT_EQ(logger.status().code(), Code::kSystemError);
  EXPECT_NE(logger.status().text().find("/proc/no/such/folder/log"), std::string::npos);
}

TEST(Log, LevelNames) {
  for (int level = 0; level < kNumLogLevels; ++level) {
    const auto value = static_cast<LogLevel>(level);
    EXPECT_EQ(parse_log_level(name_of(value)), value);
  }
  EXPECT_FALSE(parse_log_level("WARN").has_value());
  EXPECT_FALSE(parse_log_level("unknown").has_value());
}

}  // namespace
}  // namespace tutti
