// Ranks that fork in the middle of traffic, and communicators that come and go.
#include <gtest/gtest.h>

#include "tests/hostile/hostile_job.h"

namespace tutti {
namespace {

// Children are told so by every call, and nothing of Tutti is open after an exec; the traffic of
// their parents goes on.
TEST(Ranks, ForkInTheMiddleOfTraffic) {
  HostileJob job = {"forks"};
  job.transport = "shm";
  job.forks = true;
  expect_right(run(job));
}

TEST(Ranks, CommunicatorsLeaveNoDescriptorAndNoMapping) {
  HostileJob job = {"communicators"};
  job.transport = "shm";
  expect_right(run(job));
}

}  // namespace
}  // namespace tutti
