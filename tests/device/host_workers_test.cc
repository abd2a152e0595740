// Threads that share a kernel: every piece once, the same bits, nobody waits for who is not there.
#include "comm/device/host_workers.h"

#include <array>
#include <atomic>
#include <csignal>
#include <ctime>
#include <gtest/gtest.h>
#include <mutex>
#include <poll.h>
#include <sched.h>
#include <set>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "comm/base/clock.h"
#include "comm/base/types.h"
#include "tests/device/host_device_fixture.h"

namespace tutti {
namespace {

struct Tally {
  std::array<std::atomic<int>, 200> times = {};
};

void count_piece(const void* job, uint32_t piece) {
  const auto* tally = static_cast<const Tally*>(job);
  const_cast<Tally*>(tally)->times[piece].fetch_add(1, std::memory_order_relaxed);
}

// Whether each of the first `pieces`, and no other, has run once.
bool is_once(const Tally& tally, uint32_t pieces) {
  bool right = true;
  for (uint32_t i = 0; i < tally.times.size(); ++i) {
    right = right && tally.times[i].load() == (i < pieces ? 1 : 0);
  }
  return right;
}

TEST(HostWorkers, EveryPieceRunsOnceWhoeverElseIsAtIt) {
  HostWorkers workers;
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (uint32_t c = 0; c < 3; ++c) {
    callers.emplace_back([&workers, &wrong, c] {
      for (uint32_t i = 0; i < 500; ++i) {
        Tally tally;
        const uint32_t pieces = (i * 7 + c) % 200;
        workers.run(count_piece, &tally, pieces, i % 4);
        if (!is_once(tally, pieces)) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong.load(), 0);
  workers.stop();
  workers.stop();
  Tally tally;
  workers.run(count_piece, &tally, 10, 2);
  EXPECT_TRUE(is_once(tally, 10)) << "without workers";
}

struct Meeting {
  mutable std::mutex mutex;
  mutable std::set<std::thread::id> who;
};

void meet(const void* job, uint32_t /*piece*/) {
  const auto* meeting = static_cast<const Meeting*>(job);
  {
    const std::lock_guard<std::mutex> lock(meeting->mutex);
    meeting->who.insert(std::this_thread::get_id());
  }
  sched_yield();
}

TEST(HostWorkers, AllHelpersHelpAndNoOther) {
  HostWorkers workers;
  Tally tally;
  workers.run(count_piece, &tally, 10, 3);  // three of them now
  Meeting meeting;
  const Deadline deadline = Deadline::after_ns(20'000'000'000);
  while (meeting.who.size() < 3 && !deadline.expired(now_ns())) {
    workers.run(meet, &meeting, 200, 2);
  }
  EXPECT_EQ(meeting.who.size(), 3u) << "the caller and two";
  for (int i = 0; i < 50; ++i) workers.run(meet, &meeting, 200, 2);
  EXPECT_EQ(meeting.who.size(), 3u);
}

int64_t cpu_ns() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

TEST(HostWorkers, TheIdleSleep) {
  HostWorkers workers;
  Tally tally;
  workers.run(count_piece, &tally, 10, 3);
  const int64_t before = cpu_ns();
  poll(nullptr, 0, 300);
  EXPECT_LT(cpu_ns() - before, 60'000'000) << "of 300 ms, three threads";
}

class SharedReduceTest : public HostDeviceTest {
 protected:
  static constexpr size_t kRoom = (size_t{5} << 20) + 4096;

  static std::vector<uint8_t> noise(uint32_t seed) {
    std::vector<uint8_t> bytes(kRoom);
    uint32_t x = seed;
    for (uint8_t& byte : bytes) {
      x = x * 1664525u + 1013904223u;
      byte = static_cast<uint8_t>(x >> 24);
    }
    return bytes;
  }

  // One of many ways to reduce a_ and b_, with so many threads.
  std::vector<uint8_t> reduce(uint32_t dtype, uint32_t op, uint32_t variant, uint32_t threads) {
    const size_t element = size_of(static_cast<DataType>(dtype));
    const size_t offset = variant % 3 * (variant % 2 == 0 ? element : 1);
    std::vector<uint8_t> out(kRoom, 0xA5);
    const void* src[] = {a_.data() + offset, b_.data() + variant % 5};
    void* dst[] = {out.data() + offset};
    const std::array<uint64_t, 2> scalar = {0x3C3C3C3C3C3C3C3C, 0};
    const void* scalars[] = {scalar.data(), nullptr};
    tutti_reduce_args args = {};
    args.struct_size = sizeof args;
    args.dtype = dtype;
    args.op = op;
    args.stores = variant % 2;
    args.nsrc = variant % 4 == 3 ? 1 : 2;
    args.ndst = 1;
    args.threads = threads;
    args.count = ((size_t{4} << 20) + 321) / element - variant % 2;
    args.src = src;
    args.dst = dst;
    if (variant % 4 == 2 && is_float(static_cast<DataType>(dtype))) args.scalar = scalars;
    EXPECT_EQ(api_->reduce(dev_, &args, nullptr), TUTTI_OK);
    return out;
  }

  const std::vector<uint8_t> a_ = noise(1);
  const std::vector<uint8_t> b_ = noise(2);
};

TEST_F(SharedReduceTest, BitsDoNotDependOnTheNumberOfThreads) {
  uint32_t variant = 0;
  for (uint32_t dtype = 0; dtype < kNumDataTypes; ++dtype) {
    for (uint32_t op = 0; op < kNumReduceOps; ++op) {
      if (api_->reduce_supported(dev_, dtype, op) != TUTTI_OK) continue;
      ++variant;
      const std::vector<uint8_t> alone = reduce(dtype, op, variant, 1);
      for (uint32_t threads = 2; threads <= 4; ++threads) {
        ASSERT_TRUE(reduce(dtype, op, variant, threads) == alone)
            << name_of(static_cast<DataType>(dtype)) << " operator " << op << " threads "
            << threads;
      }
    }
  }
  EXPECT_GT(variant, 60u);
}

// In place and to several destinations, from several threads at once.
TEST_F(SharedReduceTest, SeveralAtOnce) {
  constexpr size_t kCount = (size_t{3} << 20) + 7;
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (uint8_t c = 1; c <= 3; ++c) {
    callers.emplace_back([this, &wrong, c] {
      std::vector<uint8_t> mine(kCount, c), copy(kCount), more(kCount, 1);
      for (int i = 0; i < 5; ++i) {
        const void* src[] = {mine.data(), more.data()};
        void* dst[] = {mine.data(), copy.data()};
        tutti_reduce_args args = {};
        args.struct_size = sizeof args;
        args.dtype = static_cast<uint32_t>(DataType::kUint8);
        args.nsrc = 2;
        args.ndst = 2;
        args.threads = 3;
        args.count = kCount;
        args.src = src;
        args.dst = dst;
        if (api_->reduce(dev_, &args, nullptr) != TUTTI_OK) wrong.fetch_add(1);
      }
      const std::vector<uint8_t> want(kCount, static_cast<uint8_t>(c + 5));
      if (mine != want || copy != want) wrong.fetch_add(1);
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST_F(SharedReduceTest, AfterQuiesceAllIsDoneAlone) {
  const std::vector<uint8_t> alone = reduce(0, 0, 0, 1);
  EXPECT_TRUE(reduce(0, 0, 0, 3) == alone);
  EXPECT_EQ(api_->quiesce(dev_), TUTTI_OK);
  EXPECT_EQ(api_->quiesce(dev_), TUTTI_OK);
  EXPECT_TRUE(reduce(0, 0, 0, 3) == alone);
}

// Its exit code: 0 when the pid ends by itself within 20 s.
int wait_for_child(pid_t pid) {
  const Deadline deadline = Deadline::after_ns(20'000'000'000);
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (deadline.expired(now_ns())) {
      kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
      return -1;
    }
    poll(nullptr, 0, 5);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST_F(SharedReduceTest, AForkedChildWaitsForNobody) {
  tutti_dev* mine = nullptr;
  ASSERT_EQ(api_->open(0, &mine), TUTTI_OK);
  std::swap(mine, dev_);
  const std::vector<uint8_t> expected = reduce(0, 0, 0, 3);
  const pid_t child = fork();
  if (child == 0) {
    const bool same = reduce(0, 0, 0, 3) == expected;
    const bool closed = api_->close(dev_) == TUTTI_OK;
    _exit(same && closed ? 0 : 1);
  }
  EXPECT_EQ(wait_for_child(child), 0);
  EXPECT_TRUE(reduce(0, 0, 0, 3) == expected) << "the parent's are still there";
  std::swap(mine, dev_);
  EXPECT_EQ(api_->close(mine), TUTTI_OK);
}

}  // namespace
}  // namespace tutti
