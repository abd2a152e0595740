// Every algorithm of the catalogue through the executor, over transports that can do more or less:
// with and without view and place, with few slots, with everything late.
#include "comm/exec/execution.h"

#include <unistd.h>

#include "tests/exec/group.h"
#include "tests/support/sanitized.h"

namespace tutti {
namespace {

class ExecutionTest : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override { alarm(200); }
  void TearDown() override { alarm(0); }
  const Algorithm& algorithm() const { return catalog()[GetParam()]; }
};

struct Variant {
  const char* name;
  FaultOptions faults;
};

std::vector<Variant> variants() {
  std::vector<Variant> all(7);
  all[0].name = "all";
  all[1].name = "no view";
  all[1].faults.hide_view = true;
  all[2].name = "no place";
  all[2].faults.hide_place = true;
  all[3].name = "neither";
  all[3].faults.hide_view = all[3].faults.hide_place = true;
  all[4].name = "two slots";
  all[4].faults.slots = 2;
  all[5].name = "late, some offers lost";
  all[5].faults.delay = all[5].faults.stall = 0.3;
  all[5].faults.hide_offer = 0.5;
  all[6].name = "late, landing, two slots";
  all[6].faults = all[5].faults;
  all[6].faults.hide_view = true;
  all[6].faults.slots = 2;
  return all;
}

std::vector<int> roots_of(const Algorithm& a, int n) {
  if (!is_rooted(a.collective)) return {0};
  return n == 1 ? std::vector<int>{0} : std::vector<int>{0, n - 1};
}

// All ranks in place, none, or every other one.
std::vector<bool> places(int n, int mode) {
  std::vector<bool> in_place(static_cast<size_t>(n), mode == 1);
  for (size_t r = 0; r < in_place.size() && mode == 2; ++r) in_place[r] = r % 2 == 0;
  return in_place;
}

std::vector<Job> jobs_of(const Algorithm& a, int n) {
  std::vector<Job> jobs;
  for (int root : roots_of(a, n)) {
    for (size_t count : {size_t{0}, size_t{1}, size_t{15}, size_t{100}, size_t{5003}}) {
      for (int mode = 0; mode < 3; ++mode) {
        Job job;
        job.algorithm = &a;
        job.nranks = n;
        job.root = root;
        job.count = count;
        job.pieces = count > 100 ? 3 : 1;
        job.in_place = places(n, mode);
        jobs.push_back(job);
      }
    }
  }
  return jobs;
}

std::string describe(const Job& job, const char* variant) {
  return std::string(name_of(job.algorithm->collective)) + ' ' + job.algorithm->name + ", " +
         variant + ", ranks " + std::to_string(job.nranks) + ", root " + std::to_string(job.root) +
         ", count " + std::to_string(job.count) + ", cap " + std::to_string(job.scratch_cap) +
         (job.counts.empty() ? "" : ", blocks differ");
}

TEST_P(ExecutionTest, EveryTransportGivesTheSame) {
  for (const Variant& v : variants()) {
    for (int n : kSanitized ? std::vector{2, 3, 5} : std::vector{1, 2, 3, 4, 5, 8}) {
      ExecGroup group(n, v.faults);
      for (const Job& job : jobs_of(algorithm(), n)) {
        SCOPED_TRACE(describe(job, v.name));
        group.run(job);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Scratch for a few lines only: many rounds.
TEST_P(ExecutionTest, InRounds) {
  for (const Variant& v : variants()) {
    for (int n : {2, 3, 5}) {
      ExecGroup group(n, v.faults);
      for (int mode = 0; mode < 3; ++mode) {
        for (size_t cap : {size_t{1}, size_t{2048}}) {
          Job job;
          job.algorithm = &algorithm();
          job.nranks = n;
          job.root = roots_of(algorithm(), n).back();
          job.count = cap == 1 ? 701 : 4'001;
          job.pieces = 2;
          job.scratch_cap = cap;
          job.in_place = places(n, mode);
          SCOPED_TRACE(describe(job, v.name));
          group.run(job);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Blocks of different sizes, some of them empty, with gaps in between.
TEST_P(ExecutionTest, BlocksThatDiffer) {
  const Algorithm& a = algorithm();
  const bool has_blocks = input_blocks(a.collective, 2) > 1 || output_blocks(a.collective, 2) > 1;
  // A binomial tree needs counts that only the root knows.
  if (!has_blocks || a.needs_all_counts) return;
  for (const Variant& v : variants()) {
    for (int n : {2, 3, 5}) {
      ExecGroup group(n, v.faults);
      for (size_t scale : {size_t{1}, size_t{300}}) {
        for (size_t cap : {size_t{1} << 26, size_t{2048}}) {
          for (int mode = 0; mode < 3; ++mode) {
            // In place an all-to-all needs equal blocks both ways.
            const bool symmetric = a.collective == Collective::kAllToAll && mode > 0;
            Job job;
            job.algorithm = &a;
            job.nranks = n;
            job.root = n / 2;
            job.scratch_cap = cap;
            job.in_place = places(n, mode);
            for (int s = 0; s < n; ++s) {
              job.counts.emplace_back();
              for (int d = 0; d < n; ++d) {
                const int x = symmetric ? s * d + s + d : s * 3 + d * 5;
                job.counts.back().push_back(static_cast<size_t>(x % 4) * scale);
              }
            }
            SCOPED_TRACE(describe(job, v.name));
            group.run(job);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST_P(ExecutionTest, WithAThreadPerRank) {
  for (const Variant& v : variants()) {
    for (int n : kSanitized ? std::vector{2, 4} : std::vector{2, 4, 5}) {
      ExecGroup group(n, v.faults);
      for (size_t count : {size_t{3}, size_t{9'000}}) {
        for (int mode = 0; mode < 3; ++mode) {
          Job job;
          job.algorithm = &algorithm();
          job.nranks = n;
          job.root = n - 1;
          job.count = count;
          job.pieces = 4;
          job.scratch_cap = 8192;
          job.in_place = places(n, mode);
          SCOPED_TRACE(describe(job, v.name));
          group.run_threads(job);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

std::string test_name(const testing::TestParamInfo<size_t>& info) {
  const Algorithm& a = catalog()[info.param];
  return std::string(name_of(a.collective)) + '_' + a.name;
}

INSTANTIATE_TEST_SUITE_P(Catalog, ExecutionTest, testing::Range<size_t>(0, catalog().size()),
                         test_name);

// One pass over memory: each rank folds its half of both inputs, and each result is stored once at
// home and once where the peer wants it.
TEST(Traffic, FusedTwoShotIsOnePass) {
  ExecGroup group(2);
  for (size_t count : {size_t{4096}, size_t{100'000}, size_t{1} << 20}) {
    for (int mode = 0; mode < 3; ++mode) {
      Job job;
      job.algorithm = find_algorithm(Collective::kAllReduce, "two_shot");
      job.count = count;
      job.in_place = places(2, mode);
      group.run(job);
      const uint64_t bytes = count * sizeof(int32_t);
      uint64_t loaded = 0;
      uint64_t stored = 0;
      for (int r = 0; r < 2; ++r) {
        const Traffic& t = group.execution(r).traffic();
        loaded += t.bytes_loaded;
        stored += t.bytes_stored;
        // Halves are cut at cache lines.
        EXPECT_NEAR(static_cast<double>(t.bytes_loaded), static_cast<double>(bytes), 128);
        EXPECT_NEAR(static_cast<double>(t.bytes_stored), static_cast<double>(bytes), 128);
      }
      EXPECT_EQ(loaded, 2 * bytes);
      EXPECT_EQ(stored, 2 * bytes);
    }
  }
}

// The same between threads, where an offer might come too late.
TEST(Traffic, FusedTwoShotIsOnePassBetweenThreads) {
  ExecGroup group(2);
  for (int round = 0; round < 200; ++round) {
    Job job;
    job.algorithm = find_algorithm(Collective::kAllReduce, "two_shot");
    job.count = 10'000;
    group.run_threads(job);
    const uint64_t bytes = job.count * sizeof(int32_t);
    const Traffic& a = group.execution(0).traffic();
    const Traffic& b = group.execution(1).traffic();
    EXPECT_EQ(a.bytes_loaded + b.bytes_loaded, 2 * bytes);
    EXPECT_EQ(a.bytes_stored + b.bytes_stored, 2 * bytes);
  }
}

// Without place the peer's half is copied once more; without view it lands first.
TEST(Traffic, WithoutPlaceThereIsOneMoreCopy) {
  FaultOptions faults;
  faults.hide_place = true;
  ExecGroup group(2, faults);
  Job job;
  job.algorithm = find_algorithm(Collective::kAllReduce, "two_shot");
  job.count = 1 << 20;
  group.run(job);
  const uint64_t bytes = job.count * sizeof(int32_t);
  const Traffic& t = group.execution(0).traffic();
  EXPECT_EQ(t.bytes_loaded, bytes + bytes / 2);
  EXPECT_EQ(t.bytes_stored, bytes);
}

}  // namespace
}  // namespace tutti
