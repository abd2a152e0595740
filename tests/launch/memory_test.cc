// What Tutti takes beside the caller's memory, over shm: for a pair of active peers, for a
// communicator more, and for copies under a small cap. Counted are private pages and pages of
// shared memory, each divided by the processes that have it mapped (Pss), so that sums over
// processes count every page once; not the code, nor descriptors and page tables, which are the
// kernel's.
#include <csignal>
#include <gtest/gtest.h>
#include <map>
#include <sstream>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "tests/launch/job.h"
#include "tests/support/temp_folder.h"

namespace tutti {
namespace {

// Of all ranks of a job together, in KiB, at one stage of memory_helper.
struct Weight {
  long anon = 0;
  long shmem = 0;  // but for the pool
  long pool = 0;   // memory that peers map: copies, scratch, doors
};

using Stages = std::map<std::string, Weight>;

class Memory : public testing::Test {
 protected:
  Stages weigh(int nranks, int communicators, const std::string& cap = "64M") {
    const TempFolder folder;
    auto programs = helper_job(folder.path(), nranks, {});
    for (Program& p : programs) {
      p.arguments = {TUTTI_MEMORY_HELPER, std::to_string(communicators)};
      p.environment.emplace_back("TUTTI_TRANSPORT", "shm");
      p.environment.emplace_back("TUTTI_TIMEOUT", "60");
      p.environment.emplace_back("TUTTI_BUFFER_CAP", cap);
    }
    Stages stages;
    for (const Outcome& outcome : run_all(programs, 100)) {
      EXPECT_EQ(outcome.status, 0) << outcome.text;
      std::istringstream lines(outcome.text);
      std::string stage;
      Weight one;
      while (lines >> stage >> one.anon >> one.shmem >> one.pool) {
        Weight& all = stages[stage];
        all.anon += one.anon;
        all.shmem += one.shmem;
        all.pool += one.pool;
      }
    }
    return stages;
  }

  void show(const char* what, double kib) {
    std::printf("%-64s %8.1f KiB\n", what, kib);
    RecordProperty(what, std::to_string(kib));
  }
};

long own(const Weight& weight) { return weight.anon + weight.shmem; }

// Each rank has talked to each other, with small and large messages. What a process takes once,
// however many peers it has, cancels out: four jobs of two ranks have as many processes as one of
// eight.
TEST_F(Memory, OfAPairOfActivePeers) {
  const Weight two = weigh(2, 0)["talk"];
  const Weight four = weigh(4, 0)["talk"];
  const Weight eight = weigh(8, 0)["talk"];
  const double of_four = static_cast<double>(own(four) - 2 * own(two)) / (6 - 2);
  const double of_eight = static_cast<double>(own(eight) - 4 * own(two)) / (28 - 4);
  show("a pair of peers of 4 ranks", of_four);
  show("a pair of peers of 8 ranks", of_eight);
  show("a process of 2 ranks, all it takes", static_cast<double>(own(two)) / 2);
  show("a process of 8 ranks, all it takes", static_cast<double>(own(eight)) / 8);
  show("the pool of a process of 8 ranks", static_cast<double>(eight.pool) / 8);
  EXPECT_GT(of_four, 50) << "something was not counted";
  EXPECT_GT(of_eight, 50) << "something was not counted";
  EXPECT_LT(of_four, 256);
  EXPECT_LT(of_eight, 256);
}

// Made by 8 ranks and used for a barrier and an all-reduce; within 1024 descriptors, which
// memory_helper sets for itself.
TEST_F(Memory, Of512Communicators) {
  constexpr int kCommunicators = 512;
  const int64_t begin = now_ns();
  Stages stages = weigh(8, kCommunicators);
  EXPECT_LT(now_ns() - begin, 60'000'000'000);
  const auto each = [&stages](const char* stage) {
    const Weight& before = stages["talk"];
    const Weight& after = stages[stage];
    return static_cast<double>(own(after) + after.pool - own(before) - before.pool) /
           kCommunicators;
  };
  show("a communicator of 8 ranks, created, in each process", each("created") / 8);
  show("a communicator of 8 ranks, used, in each process", each("used") / 8);
  show("a communicator of 8 ranks, used, in all processes", each("used"));
  EXPECT_GT(each("used"), 28 * 4) << "a page for every pair at least";
  EXPECT_LT(each("used") / 8, 64);
  EXPECT_LT(stages["destroyed"].shmem, stages["talk"].shmem + 28 * 4 * 64)
      << "rings go back to the system";
}

// Whether the kernel lets a process read another one of the same parent (kernel.yama.ptrace_scope).
bool siblings_can_read() {
  static const char there = 1;
  const pid_t read = fork();
  if (read == 0) {
    pause();
    _exit(0);
  }
  const pid_t reader = fork();
  if (reader == 0) {
    char here = 0;
    const iovec to{&here, 1};
    const iovec from{const_cast<char*>(&there), 1};
    _exit(process_vm_readv(read, &to, 1, &from, 1, 0) == 1 ? 0 : 1);
  }
  int status = -1;
  waitpid(reader, &status, 0);
  kill(read, SIGKILL);
  waitpid(read, nullptr, 0);
  return status == 0;
}

// Messages of 8 MiB from memory that peers cannot map: what does not fit takes another way.
TEST_F(Memory, OfCopiesUnderASmallCap) {
  if (!siblings_can_read()) GTEST_SKIP() << "there is no other way here";
  constexpr int kRanks = 4;
  const double each = static_cast<double>(weigh(kRanks, 0, "1M")["talk"].pool) / kRanks;
  show("the pool of a process with a cap of 1 MiB", each);
  EXPECT_GT(each, 64) << "something was not counted";
  // Scratch may take as much again; the door of the endpoint is 128 KiB.
  EXPECT_LT(each, 2 * 1024 + 128);
}

}  // namespace
}  // namespace tutti
