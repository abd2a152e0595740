#include "comm/base/wait.h"

#include <algorithm>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <time.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/unique_fd.h"

namespace tutti {
namespace {

constexpr int64_t kMs = 1'000'000;

int64_t thread_cpu_ns() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
  UniqueFd read;
  UniqueFd write;
};

struct Cost {
  double share = 1;  // of one core
  int ticks = 0;
};

// What a wait of 200 ms on the last rung takes.
Cost cost_of_waiting(int fd) {
  WaitLadder ladder(WaitRungs{0, 0}, fd);
  Cost cost;
  const int64_t cpu = thread_cpu_ns();
  const int64_t start = now_ns();
  const Deadline deadline = Deadline::after_ns(200 * kMs);
  for (; !deadline.expired(now_ns()); ++cost.ticks) ladder.tick();
  cost.share = static_cast<double>(thread_cpu_ns() - cpu) / static_cast<double>(now_ns() - start);
  return cost;
}

// The ladder must wake rarely; that this is cheap is then up to the machine, and neighbours on it
// only ever make a wake-up dearer: the cheapest of some tries counts.
void expect_cheap(int fd, double limit) {
  double least = 1;
  for (int i = 0; i < 10 && least >= limit; ++i) {
    const Cost cost = cost_of_waiting(fd);
    // 200 blocks of 1 ms, and the five shorter naps on the way there.
    EXPECT_LE(cost.ticks, 206);
    least = std::min(least, cost.share);
  }
  EXPECT_LT(least, limit);
}

TEST(WaitLadder, ReportsEvery64Spins) {
  WaitLadder ladder(WaitRungs{256, 0});
  int reports = 0;
  for (int i = 0; i < 256; ++i) reports += ladder.tick() ? 1 : 0;
  EXPECT_EQ(reports, 4);
}

TEST(WaitLadder, ReportsEveryYieldAndEveryBlock) {
  WaitLadder ladder(WaitRungs{0, 3});
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(ladder.tick()) << i;
}

TEST(WaitLadder, SpinsAndYieldsBeforeItBlocks) {
  const Pipe pipe;
  WaitLadder ladder(WaitRungs{10, 5}, pipe.read.get());
  int64_t start = thread_cpu_ns();
  for (int i = 0; i < 15; ++i) ladder.tick();
  // Fifteen quick polls; a block on the empty pipe would be counted in wall time, not here, so the
  // next check looks at wall time.
  EXPECT_LT(thread_cpu_ns() - start, 50 * kMs);
  start = now_ns();
  ladder.tick();
  EXPECT_GE(now_ns() - start, kMs / 2) << "the sixteenth tick blocks";
  ladder.reset();
  EXPECT_FALSE(ladder.tick()) << "after reset it spins again";
}

TEST(WaitLadder, WakesWhenTheDescriptorIsReadable) {
  const Pipe pipe;
  ASSERT_EQ(write(pipe.write.get(), "x", 1), 1);
  WaitLadder ladder(WaitRungs{0, 0}, pipe.read.get());
  const int64_t start = now_ns();
  for (int i = 0; i < 1000; ++i) ladder.tick();
  EXPECT_LT(now_ns() - start, 500 * kMs) << "a readable descriptor never blocks for long";
}

TEST(WaitLadder, LongWaitsCostLittle) {
  const Pipe pipe;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  const double limit = 0.10;
#else
  const double limit = 0.03;
#endif
  expect_cheap(-1, limit);
  expect_cheap(pipe.read.get(), limit);
}

TEST(WaitRungs, NoSpinningWhenRanksOutnumberCores) {
  const WaitRungs rungs{100, 10};
  EXPECT_EQ(rungs_for(rungs, {2, 2}).spins, 100u);
  EXPECT_EQ(rungs_for(rungs, {3, 2}).spins, 0u);
  EXPECT_EQ(rungs_for(rungs, {3, 2}).yields, 10u);
}

TEST(Deadline, NeverAndOverflow) {
  EXPECT_TRUE(Deadline::never().is_never());
  EXPECT_TRUE(Deadline::after_ns(INT64_MAX).is_never());
  EXPECT_FALSE(Deadline::after_ns(1000 * kMs).expired(now_ns()));
  EXPECT_TRUE(Deadline::after_ns(0).expired(now_ns()));
}

}  // namespace
}  // namespace tutti
