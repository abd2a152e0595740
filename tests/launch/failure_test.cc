// What the ranks of a job are told when one of them is lost. Three ranks: the last one goes, in one
// of several ways, while the others wait for it in an all-reduce.
#include <csignal>
#include <gtest/gtest.h>

#include "tutti/tutti.h"

#include "tests/launch/scenario.h"

namespace tutti {
namespace {

constexpr int kRanks = 3;

bool said(const std::string& report, const std::string& what, tuttiResult_t code) {
  return report.find('\n' + what + ' ' + std::to_string(static_cast<int>(code)) + ' ') !=
         std::string::npos;
}

class FailureTest : public testing::TestWithParam<std::string> {
 protected:
  void run(const std::string& scenario) {
    job_ = run_scenario(GetParam(), kRanks, scenario);
    EXPECT_TRUE(job_.all_gone) << text_of(job_);
  }

  // Each rank that waited was given this code, a text that names the last rank, and a communicator
  // that can be destroyed.
  void expect_survivors_told(tuttiResult_t code) {
    for (size_t r = 0; r + 1 < job_.reports.size(); ++r) {
      const std::string& report = job_.reports[r];
      EXPECT_TRUE(said(report, "lost", code)) << text_of(job_);
      EXPECT_NE(report.find("rank 2"), std::string::npos) << text_of(job_);
      EXPECT_TRUE(said(report, "destroy", tuttiSuccess)) << text_of(job_);
    }
  }

  void expect_last_said(const std::string& what, tuttiResult_t code) {
    EXPECT_TRUE(said(job_.reports[kRanks - 1], what, code)) << text_of(job_);
  }

  // mpirun passes on that a rank has failed.
  void expect_statuses(int of_survivors, int of_last) {
    if (job_.outcomes.size() == 1) {
      EXPECT_TRUE(job_.outcomes[0].status > 0 && job_.outcomes[0].status != 124) << text_of(job_);
      return;
    }
    for (size_t r = 0; r + 1 < job_.outcomes.size(); ++r) {
      EXPECT_EQ(job_.outcomes[r].status, of_survivors) << text_of(job_);
    }
    EXPECT_EQ(job_.outcomes[kRanks - 1].status, of_last) << text_of(job_);
  }

  Finished job_;
};

TEST_P(FailureTest, Killed) {
  run("killed");
  if (!ends_with_its_first_rank(GetParam())) expect_survivors_told(tuttiRemoteError);
  expect_statuses(1, 1000 + SIGKILL);
}

TEST_P(FailureTest, ExitsInTheMiddle) {
  run("exit");
  if (!ends_with_its_first_rank(GetParam())) expect_survivors_told(tuttiRemoteError);
  expect_statuses(1, 0);
}

TEST_P(FailureTest, DestroysItsCommunicator) {
  run("left");
  expect_survivors_told(tuttiRemoteError);
  expect_last_said("destroy", tuttiSuccess);
  expect_statuses(1, 0);
}

TEST_P(FailureTest, Aborts) {
  run("abort");
  expect_survivors_told(tuttiAborted);
  expect_last_said("async", tuttiAborted);
  expect_last_said("destroy", tuttiSuccess);
  expect_statuses(1, 1);
}

TEST_P(FailureTest, CallsSomethingElse) {
  run("mismatch");
  expect_survivors_told(tuttiMismatch);
  expect_last_said("max", tuttiMismatch);
  expect_last_said("destroy", tuttiSuccess);
  for (const std::string& report : job_.reports) {
    EXPECT_NE(report.find("all_reduce of 3 f32 (max"), std::string::npos) << text_of(job_);
    EXPECT_NE(report.find("all_reduce of 1000 i32 (sum"), std::string::npos) << text_of(job_);
  }
  expect_statuses(1, 1);
}

// Whose deadline comes first waits no longer, and tells the other one, who has not waited in full.
TEST_P(FailureTest, DoesNotCome) {
  run("late");
  int timeouts = 0;
  for (size_t r = 0; r + 1 < job_.reports.size(); ++r) {
    const std::string& report = job_.reports[r];
    const bool timeout = said(report, "lost", tuttiTimeout);
    timeouts += timeout ? 1 : 0;
    EXPECT_TRUE(timeout || said(report, "lost", tuttiRemoteError)) << text_of(job_);
    EXPECT_NE(report.find("waited 2.000000 s for rank 2"), std::string::npos) << text_of(job_);
  }
  EXPECT_GE(timeouts, 1) << text_of(job_);
  for (const std::string& report : job_.reports) {
    EXPECT_TRUE(said(report, "barrier", tuttiSuccess)) << text_of(job_);
    EXPECT_TRUE(said(report, "end", tuttiSuccess)) << text_of(job_);
  }
  expect_statuses(1, 0);
}

INSTANTIATE_TEST_SUITE_P(Transports, FailureTest, testing::ValuesIn(transports_to_test()),
                         [](const auto& p) { return p.param; });

}  // namespace
}  // namespace tutti
