// tutti-run from outside: what ranks see, and how their output comes out.
#include <algorithm>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <random>
#include <sched.h>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/unique_fd.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/launched.h"

namespace tutti {
namespace {

std::vector<std::string> shell(int n, const std::string& script) {
  return {"-n", std::to_string(n), "sh", "-c", script};
}

std::string value_of(const std::string& name, const std::vector<std::string>& environment) {
  for (const std::string& variable : environment) {
    if (variable.starts_with(name + "=")) return variable.substr(name.size() + 1);
  }
  return "(unset)";
}

TEST(TuttiRunStreams, EnvironmentOfRanks) {
  const TempFolder folder;
  LaunchSetup setup{{"-n", "3", "sh", "-c", "env; stat -c 'mode=%a' ${TUTTI_RENDEZVOUS#file://}"}};
  setup.environment = {"RANK=5",
                       "WORLD_SIZE=9",
                       "OMPI_COMM_WORLD_RANK=4",
                       "PMIX_RANK=4",
                       "PMI_FD=3",
                       "TUTTI_SECRET_FILE=/nowhere",
                       "TUTTI_ALGO=none",
                       "OMPI_MCA_btl=self,vader",
                       "TMPDIR=" + folder.path()};
  std::set<std::string> secrets;
  for (int job = 0; job < 2; ++job) {
    Launched run(setup);
    EXPECT_EQ(run.wait(), 0) << run.err();
    for (int rank = 0; rank < 3; ++rank) {
      const std::string number = std::to_string(rank);
      const std::vector<std::string> seen = lines_with("[rank " + number + "] ", run.out());
      EXPECT_EQ(value_of("TUTTI_RANK", seen), number);
      EXPECT_EQ(value_of("TUTTI_LOCAL_RANK", seen), number);
      EXPECT_EQ(value_of("TUTTI_NRANKS", seen), "3");
      EXPECT_TRUE(value_of("TUTTI_RENDEZVOUS", seen).starts_with("file://" + folder.path() + "/"));
      EXPECT_EQ(value_of("mode", seen), "700");
      secrets.insert(value_of("TUTTI_SECRET", seen));
      for (const char* foreign : {"RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMIX_RANK",
                                  "PMI_FD", "TUTTI_SECRET_FILE"}) {
        EXPECT_EQ(value_of(foreign, seen), "(unset)") << foreign;
      }
      EXPECT_EQ(value_of("TUTTI_ALGO", seen), "none");
      EXPECT_EQ(value_of("OMPI_MCA_btl", seen), "self,vader");
    }
    EXPECT_TRUE(folder.empty()) << "the folder of the job is still there";
  }
  ASSERT_EQ(secrets.size(), 2u) << "one a job";
  for (const std::string& secret : secrets) {
    EXPECT_EQ(secret.size(), 32u);
    EXPECT_EQ(secret.find_first_not_of("0123456789abcdef"), std::string::npos) << secret;
  }
}

TEST(TuttiRunStreams, FolderGoesWithItsFiles) {
  const TempFolder folder;
  LaunchSetup setup{shell(2, "cd ${TUTTI_RENDEZVOUS#file://}; mkdir -p a/b; touch a/b/c; exit 1")};
  setup.environment = {"TMPDIR=" + folder.path()};
  Launched run(setup);
  EXPECT_EQ(run.wait(), 1);
  EXPECT_TRUE(folder.empty());
}

TEST(TuttiRunStreams, NoFolderToBeHad) {
  LaunchSetup setup{shell(1, "exit 0")};
  setup.environment = {"TMPDIR=/no/such/folder"};
  Launched run(setup);
  EXPECT_EQ(run.wait(), 125);
  EXPECT_NE(run.err().find("/no/such/folder: No such file"), std::string::npos) << run.err();
}

TEST(TuttiRunStreams, InputGoesToRankZero) {
  LaunchSetup setup{shell(3, "wc -c")};
  setup.input = std::string(100000, 'x');
  Launched run(setup);
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(lines_with("[rank 0] ", run.out()), std::vector<std::string>{"100000"});
  EXPECT_EQ(lines_with("[rank 1] ", run.out()), std::vector<std::string>{"0"});
  EXPECT_EQ(lines_with("[rank 2] ", run.out()), std::vector<std::string>{"0"});
}

TEST(TuttiRunStreams, NothingIsLostWhenRanksEnd) {
  Launched run({"-n", "3", "seq", "100000"});
  EXPECT_EQ(run.wait(), 0);
  for (int rank = 0; rank < 3; ++rank) {
    const auto lines = lines_with("[rank " + std::to_string(rank) + "] ", run.out());
    ASSERT_EQ(lines.size(), 100000u);
    for (size_t i = 0; i < lines.size(); ++i) ASSERT_EQ(lines[i], std::to_string(i + 1));
  }
}

TEST(TuttiRunStreams, LongLinesStayWhole) {
  constexpr size_t kLength = 1 << 20;
  Launched run(shell(3, "head -c 1048576 /dev/zero | tr '\\0' $TUTTI_RANK; echo; echo next"));
  EXPECT_EQ(run.wait(), 0);
  for (int rank = 0; rank < 3; ++rank) {
    const auto lines = lines_with("[rank " + std::to_string(rank) + "] ", run.out());
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_TRUE(lines[0] == std::string(kLength, static_cast<char>('0' + rank)))
        << "torn after " << lines[0].size();
    EXPECT_EQ(lines[1], "next");
  }
}

TEST(TuttiRunStreams, BinaryOutputPassesUnchanged) {
  LaunchSetup setup{{"-n", "1", "--no-prefix", "cat"}};
  std::mt19937 random(1);
  for (int i = 0; i < 3 << 20; ++i) setup.input += static_cast<char>(random());
  setup.input += "no newline at the end";
  Launched run(setup);
  EXPECT_EQ(run.wait(), 0);
  EXPECT_TRUE(run.out() == setup.input) << run.out().size() << " bytes";
}

TEST(TuttiRunStreams, ZeroBytesInsideALine) {
  Launched run(shell(1, "printf 'a\\000b\\n\\000\\n'"));
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(run.out(), std::string("[rank 0] a\0b\n[rank 0] \0\n", 24));
}

TEST(TuttiRunStreams, LastLineWithoutEnd) {
  Launched run(shell(2, "printf end$TUTTI_RANK"));
  EXPECT_EQ(run.wait(), 0);
  std::vector<std::string> lines = lines_of(run.out());
  std::sort(lines.begin(), lines.end());
  EXPECT_EQ(lines, (std::vector<std::string>{"[rank 0] end0", "[rank 1] end1"}));
}

TEST(TuttiRunStreams, ReaderThatLeaves) {
  Launched run({"-n", "2", "yes"});
  ASSERT_TRUE(run.wait_for("y"));
  run.close_output();
  EXPECT_EQ(run.wait(), 141) << "ranks are ended by SIGPIPE, as without a launcher";
  EXPECT_NE(run.err().find("cannot write to standard output: Broken pipe"), std::string::npos);
}

TEST(TuttiRunStreams, OutputThatIsLostIsNoSuccess) {
  const TempFolder folder;
  const std::string fifo = folder.path() + "/go";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Launched run(shell(1, "read line <" + fifo + "; echo $line; exit 0"));
  run.close_output();
  const UniqueFd go(open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(write(go.get(), "go\n", 3), 3);
  EXPECT_EQ(run.wait(), 1);
}

TEST(TuttiRunStreams, ReaderThatStandsStill) {
  Launched run({"-n", "2", "--timeout", "0.2", "--grace", "0.1", "yes"});
  EXPECT_EQ(run.wait_unread(), 124) << "a full pipe must not keep the launcher from its clock";
}

TEST(TuttiRunStreams, BoundToCores) {
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(static_cast<size_t>(core), &set)) cores.push_back(core);
  }
  const int n = static_cast<int>(cores.size()) + 1;
  Launched run({"-n", std::to_string(n), "--bind", "core", "grep", "Cpus_allowed_list",
                "/proc/self/status"});
  EXPECT_EQ(run.wait(), 0) << run.err();
  for (int rank = 0; rank < n; ++rank) {
    const int core = cores[static_cast<size_t>(rank) % cores.size()];
    EXPECT_EQ(lines_with("[rank " + std::to_string(rank) + "] ", run.out()),
              std::vector<std::string>{"Cpus_allowed_list:\t" + std::to_string(core)});
  }
  EXPECT_EQ(run.err(), "tutti-run: " + std::to_string(n) + " ranks on " +
                           std::to_string(cores.size()) + " cores: ranks share cores\n");
}

TEST(TuttiRunStreams, InsideItself) {
  Launched run({"-n", "2", TUTTI_RUN, "-n", "2", "sh", "-c", "echo $TUTTI_RANK $TUTTI_NRANKS"});
  EXPECT_EQ(run.wait(), 0) << run.err();
  std::vector<std::string> lines = lines_of(run.out());
  std::sort(lines.begin(), lines.end());
  EXPECT_EQ(lines, (std::vector<std::string>{"[rank 0] [rank 0] 0 2", "[rank 0] [rank 1] 1 2",
                                             "[rank 1] [rank 0] 0 2", "[rank 1] [rank 1] 1 2"}));
}

// A terminal with nobody but the test at it.
class TuttiRunTerminal : public testing::Test {
 protected:
  void SetUp() override {
    screen_.reset(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(screen_.valid() && grantpt(screen_.get()) == 0 && unlockpt(screen_.get()) == 0);
    terminal_.reset(open(ptsname(screen_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(terminal_.valid());
  }

  LaunchSetup on_terminal(std::vector<std::string> arguments) const {
    LaunchSetup setup{std::move(arguments)};
    setup.terminal = terminal_.get();
    return setup;
  }

  // Reads the screen until the text is on it.
  bool shows(const std::string& text) {
    while (seen_.find(text) == std::string::npos) {
      char chunk[4096];
      pollfd ready = {screen_.get(), POLLIN, 0};
      if (poll(&ready, 1, 60000) <= 0) return false;
      const ssize_t n = read(screen_.get(), chunk, sizeof chunk);
      if (n <= 0) return false;
      seen_.append(chunk, static_cast<size_t>(n));
    }
    return true;
  }

  bool type(const std::string& keys) {
    return write(screen_.get(), keys.data(), keys.size()) == static_cast<ssize_t>(keys.size());
  }

  UniqueFd screen_, terminal_;
  std::string seen_;
};

TEST_F(TuttiRunTerminal, WhatIsTypedReachesRankZero) {
  Launched run(on_terminal(shell(2,
                                 "test $TUTTI_RANK = 1 && exit 0; echo name?; read name; "
                                 "echo hello $name; cat; echo over")));
  ASSERT_TRUE(shows("name?")) << seen_;
  ASSERT_TRUE(type("tutti\n"));
  ASSERT_TRUE(shows("hello tutti")) << seen_;
  ASSERT_TRUE(type("\x04"));  // the end of the input
  ASSERT_TRUE(shows("[rank 0] over")) << seen_;
  EXPECT_EQ(run.wait(), 0);
}

TEST_F(TuttiRunTerminal, InterruptKey) {
  Launched run(on_terminal(shell(2, "echo here $TUTTI_RANK; exec sleep 1000")));
  ASSERT_TRUE(shows("here 0") && shows("here 1")) << seen_;
  ASSERT_TRUE(type("\x03"));
  EXPECT_EQ(run.wait(), 130);
}

}  // namespace
}  // namespace tutti
