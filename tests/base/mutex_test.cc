#include "comm/base/mutex.h"

#include <gtest/gtest.h>
#include <thread>
#include <vector>

#include "comm/base/clock.h"

namespace tutti {
namespace {

TEST(LadderMutex, OneThreadAtATime) {
  constexpr int kThreads = 4;
  constexpr int kTurns = 20000;
  LadderMutex mutex;
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

TEST(LadderMutex, TryLockSaysWhetherItIsTaken) {
  LadderMutex mutex;
  ASSERT_TRUE(mutex.try_lock());
  EXPECT_FALSE(mutex.try_lock());
  mutex.unlock();
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

// Longer than any spinning or yielding lasts, so that the waiter has to sleep and to wake up.
TEST(LadderMutex, WaitsForAHolderThatTakesItsTime) {
  LadderMutex mutex;
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
