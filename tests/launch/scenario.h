// A whole job of launch_helper over one transport, started as that transport wants it: processes
// side by side that meet in a folder, or under mpirun.
//
// Transports are a parameter of the tests: those of TUTTI_TEST_TRANSPORTS (CMakeLists.txt).
#pragma once

#include <string>
#include <vector>

#include "tests/launch/job.h"

namespace tutti {

struct Finished {
  std::vector<Outcome> outcomes;     // of each rank; under mpirun one, of mpirun
  std::vector<std::string> reports;  // of each rank, by line; empty when it never came so far
  bool all_gone = true;              // no rank is left running
};

// Enough for any scenario on a busy machine.
inline constexpr int kScenarioLimitS = 60;

std::vector<std::string> transports_to_test();
// A rank that dies takes its job with it there: no other rank gets to say anything.
bool ends_with_its_first_rank(const std::string& transport);

// With TUTTI_TIMEOUT=never: what ends, ends because somebody noticed.
Finished run_scenario(const std::string& transport, int nranks, const std::string& scenario);

// With the transport that Tutti picks for a host whose ranks are told apart by TUTTI_HOST_ID.
Finished run_on_split_host(int nranks, const std::string& scenario);

// The same program under tutti-run, with the transport that Tutti picks.
Finished run_under_tutti_run(int nranks, const std::string& scenario);

// For messages of assertions.
std::string text_of(const Finished& job);

}  // namespace tutti
