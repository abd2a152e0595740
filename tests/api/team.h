// Ranks as threads, for tests of the C API: a communicator of n ranks, a thread per rank, and the
// checks that every test needs.
//
// Nothing here sleeps: waits poll a condition and have a limit. Every test has a hard limit too
// (ApiTest), so that a hang is a failure and not a stuck run.
#pragma once

#include <cstdint>
#include <gtest/gtest.h>
#include <initializer_list>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "tutti/tutti.h"

#include "comm/base/clock.h"

namespace tutti {

inline testing::AssertionResult returns(tuttiResult_t expected, tuttiResult_t got) {
  if (got == expected) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "expected \"" << tuttiGetErrorString(expected) << "\", got \""
         << tuttiGetErrorString(got) << "\": " << tuttiGetLastError(nullptr);
}

// Every one of `words` occurs in `text`.
inline testing::AssertionResult names(const std::string& text,
                                      const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (text.find(word) == std::string::npos) {
      return testing::AssertionFailure() << "no \"" << word << "\" in: " << text;
    }
  }
  return testing::AssertionSuccess();
}

inline std::string last_error(tuttiComm_t comm = nullptr) { return tuttiGetLastError(comm); }

// Polls until `done` answers true; false when that took longer than the limit.
template <typename Condition>
bool wait_until(Condition done, int64_t limit_ms = 30'000) {
  const Deadline deadline = Deadline::after_ns(limit_ms * 1'000'000);
  while (!done()) {
    if (deadline.expired(now_ns())) return false;
    sched_yield();
  }
  return true;
}

// Whether another thread is inside a call on `comm`: a call that fails at once says so. While it
// looks, the other thread may be told the same: see patiently().
inline bool is_busy(tuttiComm_t comm) {
  return tuttiCommRegister(comm, nullptr, 0, nullptr) == tuttiConcurrentUse;
}

// Makes a call on a communicator that another thread looks at with is_busy().
template <typename Call>
tuttiResult_t patiently(Call call) {
  tuttiResult_t result = call();
  while (result == tuttiConcurrentUse) result = call();
  return result;
}

inline tuttiConfig_t config_with_timeout(double seconds) {
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  config.timeout_seconds = seconds;
  return config;
}

// Rank and size of `comm`, and that it works: ranks add up.
inline void expect_member(tuttiComm_t comm, int rank, int n) {
  ASSERT_NE(comm, nullptr);
  int value = -1;
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommUserRank(comm, &value)));
  EXPECT_EQ(value, rank);
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommCount(comm, &value)));
  EXPECT_EQ(value, n);
  int32_t sum = rank;
  EXPECT_TRUE(
      returns(tuttiSuccess, tuttiAllReduce(&sum, &sum, 1, tuttiInt32, tuttiSum, comm, nullptr)));
  EXPECT_EQ(sum, n * (n - 1) / 2);
}

// Ends `comm` in good order.
inline void finish(tuttiComm_t comm) {
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommFinalize(comm)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(comm)));
}

// Runs fn(rank) for each rank on a thread of its own.
template <typename Function>
void on_ranks(int n, Function fn) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < n; ++rank) threads.emplace_back([&fn, rank] { fn(rank); });
  for (std::thread& thread : threads) thread.join();
}

// The handles of one communicator. What a test has not destroyed is aborted and destroyed here.
class Team {
 public:
  explicit Team(int n, double timeout_seconds = 30)
      : Team(n, config_with_timeout(timeout_seconds)) {}
  Team(int n, const tuttiConfig_t& config) : comms_(static_cast<size_t>(n)) {
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommInitAll(comms_.data(), n, &config)));
  }
  // Takes over handles that were made in another way.
  explicit Team(std::vector<tuttiComm_t> comms) : comms_(std::move(comms)) {}
  ~Team() {
    for (tuttiComm_t comm : comms_) {
      if (comm == nullptr) continue;
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(comm)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(comm)));
    }
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(comms_.size()); }
  tuttiComm_t operator[](int rank) const { return comms_[static_cast<size_t>(rank)]; }
  // The test destroys this one itself.
  tuttiComm_t release(int rank) {
    return std::exchange(comms_[static_cast<size_t>(rank)], nullptr);
  }

  // fn(rank, comm) on a thread per rank.
  template <typename Function>
  void run(Function fn) const {
    on_ranks(size(), [&](int rank) { fn(rank, (*this)[rank]); });
  }

  // All ranks can still talk: an all-reduce gives the right sum everywhere.
  void expect_usable() const {
    run([&](int rank, tuttiComm_t comm) {
      const int64_t mine = rank + 1;
      int64_t sum = 0;
      EXPECT_TRUE(returns(tuttiSuccess,
                          tuttiAllReduce(&mine, &sum, 1, tuttiInt64, tuttiSum, comm, nullptr)));
      EXPECT_EQ(sum, int64_t{size()} * (size() + 1) / 2);
    });
  }

 private:
  std::vector<tuttiComm_t> comms_;
};

class ApiTest : public testing::Test {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override { alarm(0); }
};

}  // namespace tutti
