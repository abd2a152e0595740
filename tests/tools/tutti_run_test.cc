// tutti-run from outside: exit codes, endings, and that nothing stays behind.
#include <algorithm>
#include <csignal>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/support/temp_folder.h"
#include "tests/tools/launched.h"

namespace tutti {
namespace {

// N ranks that each run this script.
std::vector<std::string> ranks(int n, const std::string& script,
                               std::vector<std::string> options = {}) {
  std::vector<std::string> arguments = {"-n", std::to_string(n)};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.insert(arguments.end(), {"sh", "-c", script});
  return arguments;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(TuttiRun, AllRanksSucceed) {
  Launched run(ranks(3, "echo out $TUTTI_RANK; echo err $TUTTI_RANK >&2"));
  EXPECT_EQ(run.wait(), 0);
  std::vector<std::string> out = lines_of(run.out()), err = lines_of(run.err());
  std::sort(out.begin(), out.end());
  std::sort(err.begin(), err.end());
  EXPECT_EQ(out, (std::vector<std::string>{"[rank 0] out 0", "[rank 1] out 1", "[rank 2] out 2"}));
  EXPECT_EQ(err, (std::vector<std::string>{"[rank 0] err 0", "[rank 1] err 1", "[rank 2] err 2"}));
}

TEST(TuttiRun, FirstFailureEndsAll) {
  Launched run(ranks(3, "test $TUTTI_RANK = 2 && exit 7; echo pid $$; exec sleep 1000"));
  EXPECT_EQ(run.wait(), 7) << run.err();
  EXPECT_TRUE(contains(run.err(), "tutti-run: rank 2 (pid ")) << run.err();
  EXPECT_TRUE(contains(run.err(), ") exited with code 7; ending the others\n")) << run.err();
  for (const std::string rank : {"[rank 0] pid ", "[rank 1] pid "}) {
    if (!contains(run.out(), rank)) continue;  // ended before it could say so
    EXPECT_TRUE(is_gone(number_after(rank, run.out())));
  }
}

TEST(TuttiRun, SignalOfARank) {
  Launched run(ranks(1, "ulimit -c 0; kill -SEGV $$"));
  EXPECT_EQ(run.wait(), 128 + SIGSEGV);
  EXPECT_TRUE(contains(run.err(), "was ended by signal 11 (Segmentation fault")) << run.err();
  EXPECT_FALSE(contains(run.err(), "ending the others")) << "there are none";
}

TEST(TuttiRun, LastWordsComeBeforeTheVerdict) {
  Launched run(ranks(1, "echo last words >&2; exit 3"));
  EXPECT_EQ(run.wait(), 3);
  const std::vector<std::string> err = lines_of(run.err());
  ASSERT_EQ(err.size(), 2u) << run.err();
  EXPECT_EQ(err[0], "[rank 0] last words");
}

TEST(TuttiRun, RankThatIgnoresSigtermIsKilled) {
  // Rank 1 fails only when rank 0 is deaf already.
  Launched run(ranks(2,
                     "cd ${TUTTI_RENDEZVOUS#file://}; if [ $TUTTI_RANK = 0 ]; then trap '' TERM; "
                     "mkfifo f.tmp; mv f.tmp f; echo pid $$; : >f; exec sleep 1000; fi; "
                     "until [ -p f ]; do :; done; : <f; exit 3",
                     {"--grace", "0.1"}));
  EXPECT_EQ(run.wait(), 3) << run.err();
  EXPECT_TRUE(contains(run.err(), "has not ended within 0.1 s; killing it")) << run.err();
  EXPECT_TRUE(is_gone(number_after("[rank 0] pid ", run.out())));
}

TEST(TuttiRun, ChildrenOfRanksAreEndedToo) {
  Launched run(ranks(2, "sleep 1000 & echo child $!; test $TUTTI_RANK = 1 && exit 5; wait"));
  EXPECT_EQ(run.wait(), 5);
  for (const std::string& line : lines_of(run.out())) {
    EXPECT_TRUE(is_gone(number_after("child ", line))) << line;
  }
}

TEST(TuttiRun, ChildThatOutlivesItsRankIsEnded) {
  // It keeps the pipe of its rank open, so the end of the output never comes by itself.
  Launched run(ranks(2, "sleep 1000 & echo child $!"));
  EXPECT_EQ(run.wait(), 0);
  ASSERT_EQ(lines_of(run.out()).size(), 2u);
  for (const std::string& line : lines_of(run.out())) {
    EXPECT_TRUE(is_gone(number_after("child ", line))) << line;
  }
}

TEST(TuttiRun, Timeout) {
  Launched run(ranks(2, "echo pid $$; exec sleep 1000", {"--timeout", "0.2"}));
  EXPECT_EQ(run.wait(), 124);
  EXPECT_TRUE(contains(run.err(), "the time limit of 0.2 s is over")) << run.err();
  for (const std::string& line : lines_of(run.out())) {
    EXPECT_TRUE(is_gone(number_after("pid ", line))) << line;
  }
}

TEST(TuttiRun, TimeoutThatIsNotReached) {
  Launched run(ranks(2, "exit 0", {"--timeout=1000"}));
  EXPECT_EQ(run.wait(), 0) << run.err();
}

// Ranks say that they are there, and what they are ended by.
constexpr const char* kSayHow =
    "trap 'echo got INT; exit 0' INT; trap 'echo got TERM; exit 0' TERM; "
    "sleep 1000 & echo here $TUTTI_RANK; wait";

TEST(TuttiRun, InterruptIsPassedOn) {
  Launched run(ranks(2, kSayHow));
  ASSERT_TRUE(run.wait_for("here 0") && run.wait_for("here 1"));
  kill(run.pid(), SIGINT);
  EXPECT_EQ(run.wait(), 130);
  EXPECT_TRUE(contains(run.out(), "[rank 0] got INT")) << run.out();
  EXPECT_TRUE(contains(run.out(), "[rank 1] got INT")) << run.out();
  EXPECT_TRUE(contains(run.err(), "tutti-run: got SIGINT; ending all ranks\n")) << run.err();
}

TEST(TuttiRun, TerminateIsPassedOn) {
  Launched run(ranks(2, kSayHow));
  ASSERT_TRUE(run.wait_for("here 0") && run.wait_for("here 1"));
  kill(run.pid(), SIGTERM);
  EXPECT_EQ(run.wait(), 143);
  EXPECT_TRUE(contains(run.out(), "[rank 0] got TERM")) << run.out();
  EXPECT_TRUE(contains(run.out(), "[rank 1] got TERM")) << run.out();
}

TEST(TuttiRun, SecondSignalKills) {
  Launched run(
      ranks(2, "trap '' INT; echo here $TUTTI_RANK pid $$; exec sleep 1000", {"--grace", "1000"}));
  ASSERT_TRUE(run.wait_for("here 0") && run.wait_for("here 1"));
  kill(run.pid(), SIGINT);
  ASSERT_TRUE(run.wait_for("got SIGINT"));
  kill(run.pid(), SIGINT);
  EXPECT_EQ(run.wait(), 130);
  EXPECT_TRUE(is_gone(number_after("here 1 pid ", run.out())));
}

TEST(TuttiRun, SuspendAndContinue) {
  const TempFolder folder;
  const std::string fifo = folder.path() + "/go";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Launched run(ranks(1, "echo here pid $$; read line <" + fifo + "; echo $line"));
  ASSERT_TRUE(run.wait_for("here"));
  kill(run.pid(), SIGTSTP);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(run.pid()), &info, WSTOPPED | WEXITED | WNOWAIT), 0);
  EXPECT_EQ(info.si_code, CLD_STOPPED);
  EXPECT_TRUE(is_stopped_in_time(number_after("here pid ", run.out())));
  kill(run.pid(), SIGCONT);
  std::ofstream(fifo) << "go on" << std::endl;
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(lines_of(run.out()).back(), "[rank 0] go on");
}

TEST(TuttiRun, KilledLauncherTakesRanksWithIt) {
  const TempFolder folder;           // what a launcher killed like this cannot remove is in there
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // so that the ranks become ours to wait for
  LaunchSetup setup{ranks(3, "echo here $TUTTI_RANK pid $$; exec sleep 1000")};
  setup.environment = {"TMPDIR=" + folder.path()};
  Launched run(setup);
  std::vector<pid_t> pids;
  for (const char* label : {"here 0 pid ", "here 1 pid ", "here 2 pid "}) {
    ASSERT_TRUE(run.wait_for(label));
    pids.push_back(number_after(label, run.out()));
  }
  kill(run.pid(), SIGKILL);
  EXPECT_EQ(run.wait(), 1000 + SIGKILL);
  for (const pid_t pid : pids) {
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(TuttiRun, ProgramThatIsNotThere) {
  Launched run({"-n", "2", "no-such-program"});
  EXPECT_EQ(run.wait(), 127);
  EXPECT_EQ(run.err(), "tutti-run: cannot start 'no-such-program': No such file or directory\n");
}

TEST(TuttiRun, ProgramThatIsNoProgram) {
  Launched run({"-n", "2", "/"});
  EXPECT_EQ(run.wait(), 126);
  EXPECT_EQ(run.err(), "tutti-run: cannot start '/': Permission denied\n");
}

TEST(TuttiRun, BadUsage) {
  const std::vector<std::string> bad[] = {{}, {"-n", "0", "true"}, {"--none", "true"}, {"-n", "2"}};
  for (const std::vector<std::string>& arguments : bad) {
    Launched run(arguments);
    EXPECT_EQ(run.wait(), 2);
    EXPECT_TRUE(contains(run.err(), "expected")) << run.err();
  }
  Launched help({"--help"});
  EXPECT_EQ(help.wait(), 0);
  EXPECT_TRUE(contains(help.out(), "usage: tutti-run -n N")) << help.out();
}

TEST(TuttiRun, WhatFollowsProgramIsItsOwn) {
  Launched run({"-n", "1", "--", "echo", "-x", "-n", "7", "--timeout", "--"});
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(run.out(), "[rank 0] -x -n 7 --timeout --\n");
}

TEST(TuttiRun, NothingToWaitOnBesideTheRanks) {
  LaunchSetup setup{ranks(2, "exit 4")};
  setup.close_streams = true;
  Launched closed(setup);
  EXPECT_EQ(closed.wait(), 4) << "with its streams closed";
  setup.close_streams = false;
  setup.ignore_child_signal = true;
  Launched deaf(setup);
  EXPECT_EQ(deaf.wait(), 4) << "with SIGCHLD ignored";
}

TEST(TuttiRun, ManyRanks) {
  Launched run(ranks(64, "echo $TUTTI_RANK of $TUTTI_NRANKS"));
  EXPECT_EQ(run.wait(), 0) << run.err();
  for (int rank = 0; rank < 64; ++rank) {
    const std::string number = std::to_string(rank);
    EXPECT_EQ(lines_with("[rank " + number + "] ", run.out()),
              std::vector<std::string>{number + " of 64"});
  }
}

}  // namespace
}  // namespace tutti
