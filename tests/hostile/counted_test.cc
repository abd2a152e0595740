// What an operation costs beside its data, when its peers are on time: no system call, no
// allocation, and no lock.
//
// Two ranks over shm, memory from tuttiMemAlloc, after a warm-up. Rank 0 is traced, and on a busy
// machine anybody may be late: then the wait ladder makes calls of its own. Those are told apart by
// name, and for each kind and size there must be blocks of operations in which not even they were
// made.
#include "tests/hostile/counted.h"

#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>
#include <sched.h>
#include <sstream>
#include <thread>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/cores.h"
#include "tests/hostile/hostile_job.h"
#include "tests/hostile/tracer.h"

namespace tutti {
namespace {

// The first cores that this thread may run on: the tracer shares one with the rank that it stops,
// and the peer has the other. With one core nobody spins, because the peer needs it.
std::vector<int> two_cores() {
  cpu_set_t mine;
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(mine), &mine) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE && cores.size() < 2; ++core) {
    if (CPU_ISSET(core, &mine)) cores.push_back(core);
  }
  return cores;
}

// Of this thread and what it starts.
void stay_on(int core) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  EXPECT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
}

constexpr unsigned kLimitS = 200;
// Of a kind, in 40,000 operations: whoever has waited a second for another rank asks after it, over
// a socket that is made then.
constexpr uint64_t kMostOthers = 5;

struct Both {
  Traced traced;   // rank 0
  Outcome second;  // rank 1
};

Both run_traced(const std::vector<int>& cores) {
  HostileJob job = {""};
  job.transport = "shm";
  const TempFolder folder;
  const std::vector<Program> programs = programs_of(job, folder.path());
  Both both;
  std::thread second([&] {
    stay_on(cores.back());
    both.second = run_all({programs[1]}, kLimitS)[0];
  });
  std::thread first([&] {
    stay_on(cores.front());
    Tracer tracer;
    const Status started = tracer.start(programs[0]);
    EXPECT_TRUE(started.ok()) << started.text();
    if (started.ok()) both.traced = tracer.follow();
  });
  first.join();
  second.join();
  return both;
}

// "counted KIND of N bytes: allocations A frees F locks L", of one rank.
void expect_nothing_asked(const std::string& text) {
  std::istringstream lines(text);
  size_t kinds = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("counted ", 0) != 0) continue;
    ++kinds;
    EXPECT_NE(line.find("allocations 0 frees 0 locks 0"), std::string::npos) << line;
  }
  EXPECT_EQ(kinds, kCountedSizes * kCountedKinds) << text;
}

std::string calls_of(const Traced& traced) {
  std::string text;
  for (const auto& [name, times] : traced.by_name) text += name + ' ' + std::to_string(times) + ' ';
  return text + "elsewhere " + std::to_string(traced.elsewhere);
}

// The fewest calls in a block, of the kind and size that came least near to having none.
uint64_t least_quiet(const Traced& traced) {
  uint64_t most = 0;
  auto block = traced.blocks.begin();
  for (size_t i = 0; i < kCountedSizes * kCountedKinds; ++i) {
    const auto end = block + kCountedBlocks[i % kCountedKinds];
    most = std::max(most, *std::min_element(block, end));
    block = end;
  }
  return most;
}

size_t all_blocks() {
  size_t n = 0;
  for (int blocks : kCountedBlocks) n += static_cast<size_t>(blocks);
  return n * kCountedSizes;
}

TEST(Counted, OperationsAskForNothing) {
  alarm(kLimitS);
  const std::vector<int> cores = two_cores();
  ASSERT_FALSE(cores.empty());
  const bool have_cores = cores.size() == 2 && Cores::own().count() >= 2;
  // Others may keep a core for as long as that takes once, or a few times.
  const Deadline tries = Deadline::after_ns(30'000'000'000);
  for (;;) {
    const Both both = run_traced(cores);
    const Traced& traced = both.traced;
    if (traced.text.rfind("ptrace: ", 0) == 0) GTEST_SKIP() << traced.text;
    ASSERT_EQ(traced.status, 0) << traced.text;
    ASSERT_EQ(both.second.status, 0) << both.second.text;
    ASSERT_EQ(traced.blocks.size(), all_blocks()) << traced.text;
    for (const auto& [name, times] : traced.by_name) {
      const bool waits = name[0] < '0' || name[0] > '9';
      EXPECT_TRUE(waits || times <= kMostOthers) << times << " times system call " << name;
    }
    const bool last = tries.expired(now_ns()) || HasFailure();
    if (have_cores && least_quiet(traced) != 0 && !last) continue;
    expect_nothing_asked(traced.text);
    expect_nothing_asked(both.second.text);
    EXPECT_TRUE(!have_cores || least_quiet(traced) == 0) << calls_of(traced);
    RecordProperty("calls", calls_of(traced));
    break;
  }
  alarm(0);
}

}  // namespace
}  // namespace tutti
