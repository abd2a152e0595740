// The MPI library as a whole: whether it can be used in this process, its start and its errors.
//
// Only Open MPI, whose plugins need its symbols to be global. MPI_Init waits for the other
// processes of the job and cannot be given a deadline. Threads: start_mpi by one at a time; the
// rest any.
#pragma once

#include <string>

#include "comm/base/status.h"

namespace tutti {

struct MpiStart {
  int level;  // MPI_THREAD_...: what MPI allows in this process
  bool ours;  // we have initialised it, so we finalise it
};

// Initialises MPI for many threads unless the application has done it already. kUnsupported when
// the process uses another MPI, kInvalidUsage when MPI has been finalised.
Result<MpiStart> start_mpi();

// MPI has been finalised, by whomever.
bool mpi_is_over();

// "MPI_THREAD_MULTIPLE" and its like. Static storage.
const char* name_of_thread_level(int level);

// kSystemError with MPI's own words for `rc`, an error code of `call`; ok for MPI_SUCCESS.
Status mpi_status(int rc, const char* call);

}  // namespace tutti
