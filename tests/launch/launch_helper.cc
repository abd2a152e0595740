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
#include <sys/wait.h>
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

// As a worker that a training process forks: it uses what it finds in memory that its parent has
// registered, and lives on while the parent communicates from there. Returns its exit status.
class Worker {
 public:
  Worker(std::vector<int32_t>& data, int32_t wanted) {
    int up[2], down[2];
    if (pipe(up) != 0 || pipe(down) != 0) return;
    child_ = fork();
    if (child_ == 0) {
      alarm(60);
      close(down[1]);
      bool right = true;
      for (int32_t& v : data) right = right && std::exchange(v, -1) == wanted;
      if (write(up[1], "x", 1) != 1) _exit(2);
      char nothing;
      right = read(down[0], &nothing, 1) == 0 && right;
      for (int32_t v : data) right = right && v == -1;
      _exit(right ? 0 : 1);
    }
    close(up[1]);
    close(down[0]);
    end_ = down[1];
    char ready = 0;
    if (read(up[0], &ready, 1) != 1) std::perror("launch_helper: worker");
    close(up[0]);
  }
  int finish() {
    int status = -1;
    close(end_);
    return child_ > 0 && waitpid(child_, &status, 0) == child_ ? status : -1;
  }

 private:
  pid_t child_ = -1;
  int end_ = -1;
};

// Sums the memory of every rank in place, where it lies; every rank has its number there.
tuttiResult_t sum_in_place(std::vector<int32_t>& data, bool* right) {
  for (int32_t v : data) *right = *right && v == rank + 1;
  const tuttiResult_t result =
      tuttiAllReduce(data.data(), data.data(), data.size(), tuttiInt32, tuttiSum, comm, nullptr);
  for (int32_t& v : data) {
    *right = *right && std::exchange(v, rank + 1) == nranks * (nranks + 1) / 2;
  }
  return result;
}

// Memory that exists already, registered so that peers reach it.
int scenario_remap() {
  bool right = true;
  std::vector<int32_t> data(1'000'003, rank + 1);
  const size_t bytes = data.size() * sizeof(int32_t);
  tuttiWindow_t window = nullptr;
  tuttiComm_t other = nullptr;
  tuttiResult_t result = tuttiCommSplit(comm, 0, rank, &other, nullptr);
  if (result == tuttiSuccess) {
    result = tuttiCommWindowRegister(other, data.data(), bytes, &window, TUTTI_WINDOW_REMAP);
  }
  if (result == tuttiSuccess) result = tuttiCommFinalize(other);
  // With its window: the memory can be registered again.
  if (result == tuttiSuccess) result = tuttiCommDestroy(other);
  if (result == tuttiSuccess) {
    result = tuttiCommWindowRegister(comm, data.data(), bytes, &window, TUTTI_WINDOW_REMAP);
  }
  if (result != tuttiSuccess) return say("register", result);
  result = sum_in_place(data, &right);
  if (result != tuttiSuccess) return say("sum", result);
  Worker worker(data, rank + 1);
  for (int i = 0; i < 3; ++i) {
    result = sum_in_place(data, &right);
    if (result != tuttiSuccess) return say("sum", result);
  }
  result = tuttiCommDeregister(comm, window);
  if (result == tuttiSuccess) result = sum_in_place(data, &right);
  if (result != tuttiSuccess) return say("deregistered", result);
  right = worker.finish() == 0 && right;
  print(right ? "right" : "WRONG");
  return finish() + (right ? 0 : 1);
}

int run(const std::string& scenario) {
  if (scenario == "init") return finish();
  if (scenario == "sum") return scenario_sum();
  if (scenario == "remap") return scenario_remap();
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
