// LaunchedSystem: the ranks that a launcher started, this process being rank 0. Commands and
// answers travel over Tutti itself, between what is timed. One thread; the other ranks call
// follow().
#pragma once

#include "tutti/tutti.h"

#include "bench/perf/rank_server.h"
#include "bench/perf/system.h"

namespace perf {

class LaunchedSystem : public System {
 public:
  // Borrows both; `server` is this rank's.
  LaunchedSystem(tuttiComm_t comm, RankServer& server);
  // Asks the ranks for what ranks() tells.
  tutti::Status meet();

  tutti::Result<std::vector<std::string>> ask(const std::string& command) override;
  tutti::Status quit() override;

  // What every rank but 0 does until rank 0 says quit.
  static tutti::Status follow(tuttiComm_t comm, RankServer& server);

 private:
  tuttiComm_t comm_;
  RankServer& server_;
};

}  // namespace perf
