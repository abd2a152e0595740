// Jobs of two ranks on hosts that take something away: system calls, /dev/shm, common name spaces.
#include <gtest/gtest.h>

#include "comm/base/clock.h"
#include "tests/hostile/hostile_job.h"

namespace tutti {
namespace {

#define SKIP_UNLESS_ALLOWED(outcomes) \
  if (!is_allowed(outcomes)) GTEST_SKIP() << (outcomes)[0].text << (outcomes)[1].text

struct Refusal {
  const char* name;
  std::string rule;  // of confine
  std::string warning;
};

class RefusedCall : public testing::TestWithParam<Refusal> {};

// Whatever is missing, on one rank or on both: the job works, over shm.
TEST_P(RefusedCall, IsDoneWithout) {
  const std::vector<std::string> without = {GetParam().rule};
  for (const auto& [first, second] :
       {std::pair{true, false}, std::pair{false, true}, std::pair{true, true}}) {
    HostileJob job = {"plain"};
    if (first) job.rules[0] = without;
    if (second) job.rules[1] = without;
    job.transport = "shm";
    const auto outcomes = run(job);
    SKIP_UNLESS_ALLOWED(outcomes);
    expect_right(outcomes);
    const std::string& warning = GetParam().warning;
    EXPECT_EQ(first && !warning.empty(), says(outcomes[0], "warning")) << outcomes[0].text;
    EXPECT_EQ(second && !warning.empty(), says(outcomes[1], "warning")) << outcomes[1].text;
    for (const Outcome& o : outcomes) {
      EXPECT_TRUE(!says(o, "warning") || says(o, warning)) << o.text;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Hostile, RefusedCall,
    testing::Values(Refusal{"ReadingOtherProcesses", "deny:process_vm_readv=EPERM",
                            "process_vm_readv: Operation not permitted"},
                    Refusal{"WatchingOtherProcesses", "deny:pidfd_open=EPERM", ""},
                    Refusal{"BarriersInOtherProcesses", "deny:membarrier=EPERM", ""}),
    [](const auto& p) { return p.param.name; });

// Nothing shm could do without; another transport can.
TEST(RefusedSegments, AreSaidAndGoneAround) {
  HostileJob job = {"plain"};
  job.rules[1] = {"deny:memfd_create=EPERM"};
  auto outcomes = run(job);
  SKIP_UNLESS_ALLOWED(outcomes);
  if (says(outcomes[0], "right")) {
    expect_right(outcomes);
    EXPECT_TRUE(says(outcomes[0], "not over shm, next is gloo")) << outcomes[0].text;
    EXPECT_TRUE(says(outcomes[0], "rank 1 failed")) << outcomes[0].text;
  }  // else there is no other transport in this build
  job.transport = "shm";
  outcomes = run(job);
  EXPECT_TRUE(says(outcomes[0], "init 6 rank 0 of 2: rank 1 failed")) << outcomes[0].text;
  EXPECT_TRUE(says(outcomes[1], "init 4 rank 1 of 2: shm: making a segment of"))
      << outcomes[1].text;
}

TEST(RefusedThreads, FailInit) {
  HostileJob job = {"plain"};
  job.rules[1] = {"deny:clone3=EAGAIN", "deny:clone=EAGAIN"};
  const auto outcomes = run(job);
  SKIP_UNLESS_ALLOWED(outcomes);
  EXPECT_TRUE(says(outcomes[0], "init 6 rank 0 of 2: rank 1 failed")) << outcomes[0].text;
  EXPECT_TRUE(says(outcomes[1], "init 4 rank 1 of 2: cannot start a thread")) << outcomes[1].text;
}

class DevShm : public testing::TestWithParam<std::string> {};

// Messages of 256 MiB.
TEST_P(DevShm, DoesNotMatter) {
  HostileJob job = {"mapped"};
  for (auto& rules : job.rules) rules = {"devshm:" + GetParam()};
  job.transport = "shm";
  const auto outcomes = run(job);
  SKIP_UNLESS_ALLOWED(outcomes);
  expect_right(outcomes);
}

INSTANTIATE_TEST_SUITE_P(Hostile, DevShm, testing::Values("size=64m", "none"),
                         [](const auto& p) { return p.param == "none" ? "None" : "Small"; });

class NameSpaces : public testing::TestWithParam<std::pair<const char*, const char*>> {};

// Each rank has its own: number 1 of its processes, perhaps. Other memory than Tutti's is copied,
// and that is said.
TEST_P(NameSpaces, AreNoObstacle) {
  HostileJob job = {"plain"};
  for (auto& rules : job.rules) rules = {std::string("own:") + GetParam().second};
  job.transport = "shm";
  const auto outcomes = run(job);
  SKIP_UNLESS_ALLOWED(outcomes);
  expect_right(outcomes);
  for (const Outcome& o : outcomes) {
    const bool pid = std::string(GetParam().second).find("pid") != std::string::npos;
    EXPECT_EQ(says(o, "cannot be read directly"), pid) << o.text;
  }
}

INSTANTIATE_TEST_SUITE_P(Hostile, NameSpaces,
                         testing::Values(std::pair{"OfProcesses", "pid,uts,ipc"},
                                         std::pair{"OfTheHost", "uts,ipc"}),
                         [](const auto& p) { return p.param.first; });

// No address of one can be reached from the other, not even the loopback.
TEST(NetworkNameSpaces, AreNamedInTime) {
  for (const char* transport : {"auto", "shm"}) {
    HostileJob job = {"plain"};
    for (auto& rules : job.rules) rules = {"own:net"};
    job.transport = transport;
    job.timeout = "3";
    const int64_t start = now_ns();
    const auto outcomes = run(job);
    SKIP_UNLESS_ALLOWED(outcomes);
    EXPECT_LT(now_ns() - start, 20'000'000'000);
    for (const Outcome& o : outcomes) {
      EXPECT_EQ(o.status, 1) << o.text;
      EXPECT_TRUE(says(o, "init ")) << o.text;
    }
    EXPECT_TRUE(says(outcomes[0], "in different network name spaces of one host"))
        << outcomes[0].text;
    EXPECT_TRUE(says(outcomes[1], "rank 1 of 2")) << outcomes[1].text;
  }
}

}  // namespace
}  // namespace tutti
