#include "comm/base/mutex.h"

#include <gtest/gtest.h>
#include <thread>
#include <vector>

#include "comm/base/clock.h"

namespace tutti {
namespace {

TEST(BiasedMutex, OneThreadAtATime) {
  constexpr int kThreads = 4;
  constexpr int kTurns = 20000;
  BiasedMutex mutex;
  int64_t count = 0;  // not atomic: a lost turn shows, and so does a race under TSan
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kTurns; ++i) {
        MutexLock lock(mutex);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads * kTurns);
}

// Pairs of threads, each new to its mutex, so that the privilege ends while its owner is at work.
TEST(BiasedMutex, EndOfThePrivilegeMeetsItsOwnerAnywhere) {
  constexpr int kRounds = 300;
  constexpr int kOwnTurns = 2000;
  for (int round = 0; round < kRounds; ++round) {
    BiasedMutex mutex;
    int64_t count = 0;
    std::atomic<int> turns{0};
    std::thread owner([&] {
      for (int i = 0; i < kOwnTurns; ++i) {
        MutexLock lock(mutex);
        ++count;
        turns.store(i, std::memory_order_relaxed);
      }
    });
    while (turns.load(std::memory_order_relaxed) < round % 50) std::this_thread::yield();
    int taken = 0;
    for (int i = 0; i < 100; ++i) {
      if (!mutex.try_lock()) continue;
      ++count;
      ++taken;
      mutex.unlock();
    }
    owner.join();
    ASSERT_EQ(count, kOwnTurns + taken) << "round " << round;
  }
}

TEST(BiasedMutex, IsHandedFromThreadToThread) {
  BiasedMutex mutex;
  int64_t count = 0;
  for (int t = 0; t < 10; ++t) {
    std::thread next([&] {
      for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(mutex.try_lock());
        EXPECT_FALSE(mutex.try_lock());
        ++count;
        mutex.unlock();
      }
    });
    next.join();
  }
  EXPECT_EQ(count, 100);
}

TEST(BiasedMutex, TryLockSaysWhetherItIsTaken) {
  BiasedMutex mutex;
  ASSERT_TRUE(mutex.try_lock());
  EXPECT_FALSE(mutex.try_lock());
  mutex.unlock();
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

// Longer than any spinning or yielding lasts, so that the waiter has to sleep and to wake up.
TEST(BiasedMutex, WaitsForAHolderThatTakesItsTime) {
  BiasedMutex mutex;
  mutex.lock();
  std::atomic<bool> waiting{false};
  std::atomic<bool> given_back{false};
  std::thread waiter([&] {
    waiting.store(true);
    MutexLock lock(mutex);
    EXPECT_TRUE(given_back.load());
  });
  const Deadline until = Deadline::after_ns(50'000'000);
  while (!waiting.load() || !until.expired(now_ns())) std::this_thread::yield();
  given_back.store(true);
  mutex.unlock();
  waiter.join();
}

}  // namespace
}  // namespace tutti
