#include "bench/limit.h"

#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace limit {
namespace {

// Rank r brings (r + 1) * round in every element, and a number of its own in the first.
TEST(FlagSum, EverybodyHasTheSumOfEachRound) {
  constexpr int kThreads = 5;  // more than the cores of some machines
  constexpr int kRounds = 2000;
  FlagSum sum(kThreads);
  std::vector<int> wrong(kThreads);
  const auto work = [&](int self) {
    for (int round = 1; round <= kRounds; ++round) {
      float in[FlagSum::kMostCount];
      float out[FlagSum::kMostCount] = {};
      for (float& x : in) x = static_cast<float>((self + 1) * round);
      in[0] = static_cast<float>(1 << self);
      sum.run(self, in, out, FlagSum::kMostCount);
      const int of_all = kThreads * (kThreads + 1) / 2;
      int& errors = wrong[static_cast<size_t>(self)];
      errors += out[0] != static_cast<float>((1 << kThreads) - 1);
      for (size_t i = 1; i < FlagSum::kMostCount; ++i) {
        errors += out[i] != static_cast<float>(of_all * round);
      }
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back(work, t);
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < kThreads; ++t) EXPECT_EQ(wrong[static_cast<size_t>(t)], 0) << "thread " << t;
}

TEST(FlagBarrier, NobodyLeavesBeforeAllHaveCome) {
  constexpr int kThreads = 5;
  constexpr int kRounds = 2000;
  FlagBarrier barrier(kThreads);
  std::atomic<int> came{0};
  std::atomic<int> early{0};
  const auto work = [&](int self) {
    for (int round = 1; round <= kRounds; ++round) {
      came.fetch_add(1);
      barrier.wait(self);
      if (came.load() < round * kThreads) early.fetch_add(1);
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back(work, t);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(early.load(), 0);
  EXPECT_EQ(came.load(), kRounds * kThreads);
}

}  // namespace
}  // namespace limit
