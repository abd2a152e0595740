// Launch: what a launcher has told this process about its job. Pure functions of the environment;
// values.
#pragma once

#include <cstdint>
#include <string>

#include "comm/base/config.h"
#include "comm/base/status.h"
#include "comm/net/patience.h"
#include "comm/net/secret.h"

namespace tutti {

enum class Launcher : uint8_t { kTutti, kTorchrun, kOpenMpi };
const char* name_of(Launcher launcher);  // "tutti-run", "torchrun", "mpirun"

struct Launch {
  Launcher launcher = Launcher::kTutti;
  int rank = 0;
  int nranks = 1;
  int local_rank = 0;
  std::string host;      // rendezvous by TCP: "HOST:PORT", rank 0 listens there
  std::string folder;    // rendezvous by files
  bool one_host = true;  // all ranks are known to be on this host
};

// The first launcher, in the order of the enum, that has left all its variables. kInvalidUsage when
// there is none: the text lists what was looked for; kInvalidArgument for values that make no
// sense, naming variable, expected and got. For kOpenMpi the exchange goes over MPI.
Result<Launch> read_launch(const Environment& environment);

struct JobSecret {
  Secret secret;
  bool guessable = false;  // TUTTI_INSECURE_BOOTSTRAP: deserves a warning
};

// The secret of a launch by tutti-run or torchrun: TUTTI_SECRET, else TUTTI_SECRET_FILE (a regular
// file of ours with mode 0600 or less), else, for ranks of one host, a file that rank 0 makes in a
// folder only this user can enter; `fresh`: rank 0 makes a new one. The other ranks wait for it.
// kAuthFailed names TUTTI_SECRET when several hosts have none.
Result<JobSecret> job_secret(const Launch& launch, const Environment& environment, bool fresh,
                             const Patience& patience);
// Where that file is. For rank 0 to remove once all have joined.
std::string secret_file_of(const Launch& launch);

}  // namespace tutti
