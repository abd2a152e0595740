// One rank of a job that a test starts: launch_helper SCENARIO [TRANSPORT]. Prints what happened,
// "CODE text" for a failure; exits 0 when the scenario went as a user would want.
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>
#include <vector>

#include "tutti/tutti.h"

namespace {

tuttiComm_t comm;
int rank, nranks;

int say(const char* what, tuttiResult_t result) {
  std::printf("%s %d %s\n", what, static_cast<int>(result),
              result == tuttiSuccess ? "" : tuttiGetLastError(comm));
  std::fflush(stdout);
  return result == tuttiSuccess ? 0 : 1;
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
  std::printf("%s\n", right ? "right" : "WRONG");
  return finish() + (right ? 0 : 1);
}

// The last rank goes in the way named; the others wait for it.
int scenario_lost(const std::string& how) {
  bool right = true;
  tuttiResult_t result = sum(1000, &right);
  if (result != tuttiSuccess) return say("sum", result);
  if (rank == nranks - 1) {
    if (how == "killed") raise(SIGKILL);
    if (how == "exit") _exit(0);
    if (how == "left") {
      tuttiCommDestroy(comm);
      return 0;
    }
    if (how == "abort") {
      tuttiCommAbort(comm);
      return say("async", tuttiBarrier(comm, nullptr));
    }
    if (how == "mismatch") {
      float x[3] = {};
      return say("max", tuttiAllReduce(x, x, 3, tuttiFloat32, tuttiMax, comm, nullptr));
    }
    if (how == "late") {  // never calls, but is there
      char end;
      return read(STDIN_FILENO, &end, 1) < 0 ? 1 : pause();
    }
  }
  return say("lost", sum(1000, &right));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string scenario = argc > 1 ? argv[1] : "init";
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  if (argc > 2) config.transport = argv[2];
  const tuttiResult_t result = tuttiCommInitEnv(&comm, &config);
  if (result != tuttiSuccess) return say("init", result);
  tuttiCommUserRank(comm, &rank);
  tuttiCommCount(comm, &nranks);
  if (scenario == "init") return finish();
  if (scenario == "sum") return scenario_sum();
  return scenario_lost(scenario);
}
