// The engine: polls what it was given until there is nothing left, on one thread, and lets go of it
// for sure.
#include "comm/runtime/engine.h"

#include <atomic>
#include <filesystem>
#include <gtest/gtest.h>
#include <iterator>
#include <memory>
#include <sched.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "comm/base/clock.h"

namespace tutti {
namespace {

class EngineTest : public testing::Test {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override { alarm(0); }
};

template <typename Condition>
bool wait_until(Condition done) {
  const Deadline deadline = Deadline::after_ns(30'000'000'000);
  while (!done()) {
    if (deadline.expired(now_ns())) return false;
    sched_yield();
  }
  return true;
}

// Has something left until `left` polls are done.
class Countdown final : public Pollable {
 public:
  explicit Countdown(int left) : left_(left) {}
  bool poll_once() override {
    ++polls;
    inside.fetch_add(1);
    const bool more = left_.fetch_sub(1) > 1;
    inside.fetch_sub(1);
    return more;
  }
  void refill(int left) { left_ = left; }
  int left() const { return left_; }
  std::atomic<int> polls{0};
  std::atomic<int> inside{0};

 private:
  std::atomic<int> left_;
};

int num_threads() {
  return static_cast<int>(
      std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

TEST_F(EngineTest, PollsUntilNothingIsLeft) {
  Engine engine;
  Countdown work(1000);
  engine.add(&work);
  EXPECT_TRUE(wait_until([&] { return work.left() <= 0; }));
  EXPECT_EQ(work.polls, 1000) << "and no longer";
  engine.remove(&work);
}

TEST_F(EngineTest, NoThreadBeforeTheFirstWorkAndOneForAll) {
  const int before = num_threads();
  Engine engine;
  EXPECT_EQ(num_threads(), before);
  std::vector<std::unique_ptr<Countdown>> work;
  for (int i = 0; i < 100; ++i) {
    work.push_back(std::make_unique<Countdown>(50));
    engine.add(work.back().get());
  }
  EXPECT_EQ(num_threads(), before + 1);
  for (const auto& w : work) {
    EXPECT_TRUE(wait_until([&] { return w->left() <= 0; }));
    engine.remove(w.get());
  }
  engine.stop();
  engine.stop();
  EXPECT_EQ(num_threads(), before);
}

// Given again while it is at it: polled at least once more after that.
TEST_F(EngineTest, AddedAgain) {
  Engine engine;
  for (int round = 0; round < 2000; ++round) {
    Countdown work(1);
    engine.add(&work);
    EXPECT_TRUE(round % 2 == 0 || wait_until([&] { return work.left() <= 0; }));
    const int polls = work.polls;
    work.refill(1);
    engine.add(&work);
    EXPECT_TRUE(wait_until([&] { return work.left() <= 0 && work.polls > polls; }));
    engine.remove(&work);
  }
}

// After remove() nobody is inside, even with several threads polling.
TEST_F(EngineTest, RemoveWaitsForThoseInside) {
  Engine engine;
  std::atomic<bool> stop{false};
  std::vector<std::thread> helpers;
  for (int i = 0; i < 2; ++i) {
    helpers.emplace_back([&] {
      while (!stop) engine.poll_all();
    });
  }
  for (int round = 0; round < 1000; ++round) {
    auto work = std::make_unique<Countdown>(INT32_MAX);
    engine.add(work.get());
    EXPECT_TRUE(round % 2 == 0 || wait_until([&] { return work->polls > 0; }));
    engine.remove(work.get());
    EXPECT_EQ(work->inside, 0);
    work.reset();  // a thread that is still inside would be found by a sanitizer
  }
  stop = true;
  for (std::thread& helper : helpers) helper.join();
}

TEST_F(EngineTest, RemoveWhatWasNeverAdded) {
  Engine engine;
  Countdown work(1);
  engine.remove(&work);
  engine.poll_all();
  EXPECT_EQ(work.polls, 0);
}

TEST_F(EngineTest, AfterStopOnlyCallersPoll) {
  Engine engine;
  engine.stop();
  Countdown work(3);
  engine.add(&work);
  for (int i = 0; i < 5; ++i) engine.poll_all();
  EXPECT_EQ(work.polls, 3);
  engine.remove(&work);
}

}  // namespace
}  // namespace tutti
