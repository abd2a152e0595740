// The small headers: hashes, checked arithmetic, descriptors, mutexes.
#include <cstdint>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <set>
#include <thread>
#include <unistd.h>
#include <vector>

#include "comm/base/checked.h"
#include "comm/base/hash.h"
#include "comm/base/mutex.h"
#include "comm/base/unique_fd.h"

namespace tutti {
namespace {

TEST(Hash, StableAcrossBuilds) {
  // Ranks compare these values: another library version must not change them.
  EXPECT_EQ(hash64(nullptr, 0, 0), 0x2d06800538d394c2u);
  EXPECT_EQ(hash64("tutti", 5, 0), hash64("tutti", 5));
}

TEST(Hash, DependsOnBytesLengthAndSeed) {
  std::set<uint64_t> seen;
  const char text[] = "all together now";
  for (size_t bytes = 0; bytes < sizeof(text); ++bytes) seen.insert(hash64(text, bytes, 1));
  seen.insert(hash64(text, 5, 2));
  EXPECT_EQ(seen.size(), sizeof(text) + 1);
}

TEST(Hash, CombineDependsOnOrder) {
  static_assert(hash_combine(1, 2) != hash_combine(2, 1));
  static_assert(hash_combine(0, 0) != 0);
  std::set<uint64_t> seen;
  for (uint64_t a = 0; a < 100; ++a) {
    for (uint64_t b = 0; b < 100; ++b) seen.insert(hash_combine(hash_combine(0, a), b));
  }
  EXPECT_EQ(seen.size(), 10000u);
}

TEST(Checked, Overflow) {
  size_t result = 0;
  EXPECT_TRUE(checked_mul(SIZE_MAX / 8, 8, &result));
  EXPECT_EQ(result, SIZE_MAX / 8 * 8);
  EXPECT_FALSE(checked_mul(SIZE_MAX / 8 + 1, 8, &result));
  EXPECT_TRUE(checked_mul(SIZE_MAX, 0, &result));
  EXPECT_EQ(result, 0u);
  EXPECT_TRUE(checked_add(SIZE_MAX - 1, 1, &result));
  EXPECT_EQ(result, SIZE_MAX);
  EXPECT_FALSE(checked_add(SIZE_MAX, 1, &result));
}

bool is_open(int fd) { return fcntl(fd, F_GETFD) != -1; }

TEST(UniqueFd, ClosesOnce) {
  const int raw = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(raw, 0);
  {
    UniqueFd first(raw);
    UniqueFd second(std::move(first));
    EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): what a move leaves is promised
    EXPECT_EQ(second.get(), raw);
    UniqueFd third;
    third = std::move(second);
    UniqueFd& self = third;
    third = std::move(self);
    EXPECT_TRUE(is_open(raw));
  }
  EXPECT_FALSE(is_open(raw));
}

TEST(UniqueFd, ReleaseAndReset) {
  UniqueFd owner(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int raw = owner.release();
  EXPECT_FALSE(owner.valid());
  EXPECT_TRUE(is_open(raw));
  owner.reset(raw);
  owner.reset();
  EXPECT_FALSE(is_open(raw));
}

struct Counter {
  Mutex mutex;
  CondVar changed;
  int value TUTTI_GUARDED_BY(mutex) = 0;
};

TEST(Mutex, GuardsACounter) {
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&counter] {
      for (int n = 0; n < 1000; ++n) {
        MutexLock lock(counter.mutex);
        ++counter.value;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(counter.mutex);
  EXPECT_EQ(counter.value, 4000);
}

TEST(CondVar, WakesTheWaiter) {
  Counter counter;
  std::thread other([&counter] {
    MutexLock lock(counter.mutex);
    counter.value = 1;
    counter.changed.notify_all();
  });
  {
    const Deadline deadline = Deadline::after_ns(20'000'000'000);
    MutexLock lock(counter.mutex);
    while (counter.value == 0 && counter.changed.wait(counter.mutex, deadline)) {
    }
    EXPECT_EQ(counter.value, 1);
    EXPECT_FALSE(counter.mutex.try_lock()) << "wait() gives the mutex back held";
  }
  other.join();
}

TEST(CondVar, DeadlinePasses) {
  Counter counter;
  const int64_t start = now_ns();
  const Deadline deadline = Deadline::after_ns(5'000'000);
  MutexLock lock(counter.mutex);
  while (counter.changed.wait(counter.mutex, deadline)) {
  }
  EXPECT_GE(now_ns() - start, 5'000'000);
}

}  // namespace
}  // namespace tutti
