// Ranks under resource limits: joining works or says who could not have what, and ends.
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include "tests/hostile/hostile_job.h"

namespace tutti {
namespace {

// Runs all of the jobs at once.
std::vector<std::vector<Outcome>> run_side_by_side(const std::vector<HostileJob>& jobs) {
  std::vector<std::unique_ptr<TempFolder>> folders;
  std::vector<Program> programs;
  for (const HostileJob& job : jobs) {
    folders.push_back(std::make_unique<TempFolder>());
    for (Program& p : programs_of(job, folders.back()->path())) programs.push_back(std::move(p));
  }
  const std::vector<Outcome> all = run_all(programs);
  std::vector<std::vector<Outcome>> outcomes;
  for (size_t i = 0; i < all.size(); i += 2) outcomes.push_back({all[i], all[i + 1]});
  return outcomes;
}

bool says_one_of(const Outcome& o, const std::vector<std::string>& words) {
  for (const std::string& w : words) {
    if (says(o, w)) return true;
  }
  return false;
}

// Whether the job worked. If not, both ranks have said why: the limited one in one of these words,
// and both with their number.
bool worked(const std::vector<Outcome>& outcomes, size_t limited,
            const std::vector<std::string>& words) {
  if (outcomes[limited].status == 0) {
    expect_right(outcomes);
    return true;
  }
  for (size_t r = 0; r < 2; ++r) {
    const Outcome& o = outcomes[r];
    EXPECT_EQ(o.status, 1) << o.text;
    // Where Tutti could not even begin it knows of no rank.
    EXPECT_TRUE(says(o, "rank " + std::to_string(r) + " of 2") || says(o, "no memory to begin"))
        << o.text;
    EXPECT_TRUE(says(o, "rank " + std::to_string(1 - r)) ||
                says(o, "peer " + std::to_string(1 - r)) || r == limited)
        << o.text;
  }
  EXPECT_TRUE(says_one_of(outcomes[limited], words)) << outcomes[limited].text;
  return false;
}

class Limits : public testing::TestWithParam<size_t> {};  // which rank has them

// From too few to begin with to enough, one by one.
TEST_P(Limits, OfDescriptors) {
  std::vector<HostileJob> jobs;
  for (int n = 0; n <= 19; ++n) {
    HostileJob job = {"small"};
    job.room_files[GetParam()] = std::to_string(n);
    job.transport = n % 2 == 0 ? "shm" : "auto";
    job.timeout = "3";
    jobs.push_back(job);
  }
  jobs.back().room_files[GetParam()] = "64";
  int good = 0;
  for (const auto& outcomes : run_side_by_side(jobs)) {
    good +=
        worked(outcomes, GetParam(), {"oo many open files", "can open no further files"}) ? 1 : 0;
  }
  EXPECT_GE(good, 1) << "64 are enough";
  EXPECT_LT(good, static_cast<int>(jobs.size())) << "0 are not";
}

// Nothing is locked in memory.
TEST_P(Limits, OfLockedMemory) {
  HostileJob job = {"plain"};
  job.rules[GetParam()] = {"limit:memlock=0"};
  job.transport = "shm";
  expect_right(run(job));
}

INSTANTIATE_TEST_SUITE_P(Hostile, Limits, testing::Values(0, 1),
                         [](const auto& p) { return "Rank" + std::to_string(p.param); });

TEST(Limits, OfAddressSpace) {
  std::vector<HostileJob> jobs;
  for (int kib : {0, 64, 256, 1 << 10, 8 << 10, 9 << 10, 12 << 10, 40 << 10, 70 << 10, 90 << 10,
                  140 << 10, 200 << 10, 300 << 10, 1 << 20}) {
    HostileJob job = {"small"};
    job.room_kib[1] = std::to_string(kib);
    job.transport = "shm";
    job.timeout = "3";
    jobs.push_back(job);
  }
  int good = 0;
  for (const auto& outcomes : run_side_by_side(jobs)) {
    good += worked(outcomes, 1, {"annot allocate memory", "no memory", "cannot start a thread"})
                ? 1
                : 0;
  }
  EXPECT_GE(good, 1) << "1 GiB is enough";
  EXPECT_LT(good, static_cast<int>(jobs.size())) << "nothing is not";
}

TEST(Limits, LeaveNothingBehindWhenJoiningFails) {
  HostileJob job = {"retries"};
  job.transport = "shm";
  expect_right(run(job));
}

TEST(Limits, OfThreads) {
  const HostileJob job = {"few_threads"};
  expect_right(run(job));
}

}  // namespace
}  // namespace tutti
