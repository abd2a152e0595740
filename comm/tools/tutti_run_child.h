// One rank as a process: how tutti-run starts it. Not thread-safe; the caller has one thread.
//
// A rank leads a process group of its own, so that its children can be ended with it, and dies when
// the launcher does, however that ends.
#pragma once

#include <csignal>
#include <string>
#include <sys/resource.h>
#include <sys/types.h>
#include <vector>

#include "comm/base/status.h"
#include "comm/base/unique_fd.h"

namespace tutti {

// What the launcher changes for itself and ranks get back as it was.
struct Inherited {
  sigset_t mask;
  struct sigaction on_pipe;
  rlimit files;
};

struct RankStart {
  const std::vector<std::string>& command;
  const std::vector<std::string>& environment;
  const Inherited& inherited;
  int input = 0;  // becomes its standard input; borrowed
  int core = -1;  // pinned to it; -1 for not
};

struct StartedRank {
  pid_t pid = -1;
  UniqueFd pidfd;       // readable once it has exited
  UniqueFd exec_error;  // an int, the errno, when PROGRAM could not be started
  UniqueFd out, err;    // what it writes; reading never blocks
};

// kSystemError when there is no process to be had. Whether PROGRAM runs shows later.
Result<StartedRank> start_rank(const RankStart& start);

// Why PROGRAM could not be started, as an errno; 0 when it was. For a rank that has exited.
int exec_failure(const StartedRank& rank);

// The cores this process may run on, lowest first.
std::vector<int> allowed_cores();

}  // namespace tutti
