// The gloo transport between processes: traffic, and a peer that is killed.
#include <csignal>
#include <filesystem>
#include <gtest/gtest.h>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "comm/base/clock.h"
#include "comm/base/wait.h"
#include "tests/support/temp_folder.h"

extern char** environ;

namespace tutti {
namespace {

constexpr int64_t kLimitNs = 100'000'000'000;

template <typename Condition>
bool wait_for(Condition done, int64_t limit_ns) {
  const Deadline deadline = Deadline::after_ns(limit_ns);
  WaitLadder ladder(WaitRungs{0, 0});
  while (!done()) {
    if (ladder.tick() && deadline.expired(now_ns())) return false;
  }
  return true;
}

class GlooProcesses : public testing::Test {
 protected:
  void SetUp() override { alarm(120); }
  void TearDown() override {
    for (const pid_t pid : running_) {
      if (pid <= 0) continue;
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    alarm(0);
  }

  void start(int rank, int nranks, std::vector<std::string> how) {
    how.insert(how.begin(),
               {GLOO_RANK_PROGRAM, dir_, std::to_string(rank), std::to_string(nranks)});
    std::vector<char*> argv;
    for (std::string& word : how) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t pid = 0;
    ASSERT_EQ(posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ), 0);
    running_.push_back(pid);
  }

  // The exit status of rank r, -1 when it has not ended in time.
  int end_of(size_t rank) {
    int status = 0;
    if (!wait_for([&] { return waitpid(running_[rank], &status, WNOHANG) != 0; }, kLimitNs)) {
      return -1;
    }
    running_[rank] = 0;
    return status;
  }

  const TempFolder temp_;
  const std::string& dir_ = temp_.path();
  std::vector<pid_t> running_;
};

TEST_F(GlooProcesses, RingOfTwoThreeAndFive) {
  for (int nranks : {2, 3, 5}) {
    running_.clear();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directory(dir_);
    for (int rank = 0; rank < nranks; ++rank) start(rank, nranks, {"traffic"});
    for (int rank = 0; rank < nranks; ++rank) {
      EXPECT_EQ(end_of(static_cast<size_t>(rank)), 0) << rank << " of " << nranks;
    }
  }
}

TEST_F(GlooProcesses, KilledPeerIsNamedWithinSeconds) {
  start(0, 2, {"lose", "1"});
  start(1, 2, {"lose", "0"});
  const auto up = [&](int rank) {
    return std::filesystem::exists(dir_ + "/up." + std::to_string(rank));
  };
  ASSERT_TRUE(wait_for([&] { return up(0) && up(1); }, kLimitNs));
  const int64_t start_ns = now_ns();
  kill(running_[1], SIGKILL);
  EXPECT_EQ(end_of(0), 0);
  EXPECT_LT(now_ns() - start_ns, 10'000'000'000);
  EXPECT_TRUE(WIFSIGNALED(end_of(1)));
}

}  // namespace
}  // namespace tutti
