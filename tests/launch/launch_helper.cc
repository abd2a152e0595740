// One rank of a job that a test starts: launch_helper SCENARIO [TRANSPORT]. Prints what happened,
// "WHAT CODE text" for each call that matters; exits 0 when the scenario went as a user would want.
//
// With LAUNCH_HELPER_FOLDER set it writes the same to report.RANK there, where a test finds it
// whatever a launcher does with output, and stays until every other rank has said its last word:
// launchers end a job when its first rank fails.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <sys/file.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "tutti/tutti.h"

namespace {

tuttiComm_t comm;
int rank, nranks;
std::string folder;
FILE* report;
int alive = -1;  // locked, shared, by every rank that still has something to say

void print(const std::string& line) {
  for (FILE* to : {stdout, report}) {
    if (to == nullptr) continue;
    std::fprintf(to, "%s\n", line.c_str());
    std::fflush(to);
  }
}

int say(const char* what, tuttiResult_t result) {
  print(what + (' ' + std::to_string(static_cast<int>(result)) + ' ') +
        (result == tuttiSuccess ? "" : tuttiGetLastError(comm)));
  return result == tuttiSuccess ? 0 : 1;
}

// Before ranks meet, so that afterwards all of them are known to hold the lock.
void hold_on() {
  const char* given = std::getenv("LAUNCH_HELPER_FOLDER");
  if (given == nullptr) return;
  folder = given;
  alive = open((folder + "/alive").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (alive < 0 || flock(alive, LOCK_SH) != 0) std::perror("launch_helper: alive");
}

void start_report() {
  if (folder.empty()) return;
  report = std::fopen((folder + "/report." + std::to_string(rank)).c_str(), "w");
  print("pid " + std::to_string(getpid()));
}

// Ranks that end in any way let go of the lock.
int wait_for_the_others(int exit_code) {
  if (alive < 0) return exit_code;
  flock(alive, LOCK_UN);
  flock(alive, LOCK_EX);
  return exit_code;
}

int finish() {
  const tuttiResult_t result = tuttiCommFinalize(comm);
  if (result != tuttiSuccess) return say("finalize", result);
  return say("end", tuttiCommDestroy(comm));
}

// Everybody's number, summed; of `count` elements.
tuttiResult_t sum(size_t count, bool* right) {
  std::vector<int32_t> in(count, rank + 1), out(count, 0);
  const tuttiResult_t result =
      tuttiAllReduce(in.data(), out.data(), count, tuttiInt32, tuttiSum, comm, nullptr);
  for (int32_t v : out) *right = *right && v == nranks * (nranks + 1) / 2;
  return result;
}

int scenario_sum() {
  bool right = true;
  for (size_t count : {1, 7, 1000, 5000, 100'000, 1'000'003}) {
    const tuttiResult_t result = sum(count, &right);
    if (result != tuttiSuccess) return say("sum", result);
  }
  // Blocks to all, tags both ways, a communicator of the odd ranks.
  std::vector<int64_t> out(static_cast<size_t>(nranks) * 999, rank), in(out.size(), -1);
  tuttiResult_t result = tuttiAlltoAll(out.data(), in.data(), 999, tuttiInt64, comm, nullptr);
  if (result != tuttiSuccess) return say("all_to_all", result);
  for (size_t i = 0; i < in.size(); ++i) right = right && in[i] == static_cast<int64_t>(i / 999);
  const int next = (rank + 1) % nranks, previous = (rank + nranks - 1) % nranks;
  double mine = rank, theirs = -1;
  tuttiGroupStart();
  tuttiSendTag(&mine, 1, tuttiFloat64, next, 5, comm, nullptr);
  tuttiRecvTag(&theirs, 1, tuttiFloat64, previous, 5, nullptr, comm, nullptr);
  result = tuttiGroupEnd();
  if (result != tuttiSuccess) return say("send_recv", result);
  right = right && theirs == previous;
  tuttiComm_t half = nullptr;
  result = tuttiCommSplit(comm, rank % 2, 0, &half, nullptr);
  if (result == tuttiSuccess) result = tuttiBarrier(half, nullptr);
  if (result == tuttiSuccess) result = tuttiCommFinalize(half);
  if (result != tuttiSuccess) return say("split", result);
  tuttiCommDestroy(half);
  std::vector<int> everybody;
  for (int r = nranks - 1; r >= 0; --r) everybody.push_back(r);
  tuttiComm_t reversed = nullptr;
  result = tuttiCommCreateGroup(comm, everybody.data(), nranks, 0, &reversed, nullptr);
  if (result == tuttiSuccess) result = tuttiBarrier(reversed, nullptr);
  if (result == tuttiSuccess) result = tuttiCommFinalize(reversed);
  if (result != tuttiSuccess) return say("group", result);
  tuttiCommDestroy(reversed);
  print(right ? "right" : "WRONG");
  return finish() + (right ? 0 : 1);
}

// After a failure a communicator can only be destroyed, and that waits for nobody.
int destroy(int failed) { return say("destroy", tuttiCommDestroy(comm)) + failed; }

// The last rank goes in the way named, when its first sum is done; the others lose it in that sum
// or in the next.
int scenario_lost(const std::string& how) {
  bool right = true;
  tuttiResult_t result = sum(1000, &right);
  if (result != tuttiSuccess) return destroy(say("lost", result));
  if (rank == nranks - 1) {
    if (how == "killed") raise(SIGKILL);
    if (how == "exit") _exit(0);
    if (how == "left") return destroy(0);
    if (how == "abort") {
      tuttiCommAbort(comm);
      return destroy(say("async", tuttiBarrier(comm, nullptr)));
    }
    if (how == "mismatch") {
      float x[3] = {};
      return destroy(say("max", tuttiAllReduce(x, x, 3, tuttiFloat32, tuttiMax, comm, nullptr)));
    }
  }
  return destroy(say("lost", sum(1000, &right)));
}

// The last rank is there, but does not call what the others call, on a communicator with a deadline
// of its own that leaves the others time to come together on a busy machine.
int scenario_late() {
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  config.timeout_seconds = 2;
  tuttiComm_t whole = comm;
  const tuttiResult_t result = tuttiCommSplit(whole, 0, rank, &comm, &config);
  if (result != tuttiSuccess) return say("split", result);
  bool right = true;
  int failed = rank == nranks - 1 ? 0 : say("lost", sum(1000, &right));
  std::swap(comm, whole);
  // Only that one has ended. The last rank waits here for the others.
  failed += say("barrier", tuttiBarrier(comm, nullptr));
  std::swap(comm, whole);
  failed = destroy(failed);
  comm = whole;
  return finish() + failed;
}

int run(const std::string& scenario) {
  if (scenario == "init") return finish();
  if (scenario == "sum") return scenario_sum();
  if (scenario == "late") return scenario_late();
  return scenario_lost(scenario);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string scenario = argc > 1 ? argv[1] : "init";
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  if (argc > 2) config.transport = argv[2];
  hold_on();
  const tuttiResult_t result = tuttiCommInitEnv(&comm, &config);
  if (result != tuttiSuccess) return say("init", result);
  tuttiCommUserRank(comm, &rank);
  tuttiCommCount(comm, &nranks);
  start_report();
  return wait_for_the_others(run(scenario));
}
