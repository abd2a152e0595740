// Runner: runs groups of cases on a team of ranks and counts what passed: the same in every process
// of the team. Thread: one.
#pragma once

#include <array>
#include <string>

#include "tests/matrix/communicators.h"
#include "tests/matrix/rank_run.h"

namespace tutti {

class Runner {
 public:
  Runner(uint64_t seed, Team& team) : seed_(seed), team_(team), communicators_(team) {}

  // Runs every variant of the group; a process prints what fails on its ranks.
  void run(const Group& group);
  int passed() const { return passed_; }
  int failed() const { return failed_; }

 private:
  void run_variant(const Problem& problem, const Case& c);
  void fail(const std::string& name, const std::string& text);

  const uint64_t seed_;
  Team& team_;
  std::array<RankAreas, Team::kMostRanks> areas_;
  Communicators communicators_;
  int passed_ = 0;
  int failed_ = 0;
};

}  // namespace tutti
