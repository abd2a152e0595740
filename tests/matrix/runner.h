// Runner: runs groups of cases on a team of rank threads and counts what passed. Thread: one.
#pragma once

#include <array>
#include <chrono>
#include <string>

#include "tests/matrix/communicators.h"
#include "tests/matrix/rank_run.h"

namespace tutti {

class Runner {
 public:
  explicit Runner(uint64_t seed);

  // Runs every variant of the group; prints what fails.
  void run(const Group& group);
  int passed() const { return passed_; }
  int failed() const { return failed_; }

 private:
  static constexpr int kMostRanks = 8;
  // A case that takes longer hangs, even on a loaded machine under a sanitizer.
  static constexpr std::chrono::seconds kLimit{300};

  void run_variant(const Problem& problem, const Case& c);
  void fail(const std::string& name, const std::string& text);

  const uint64_t seed_;
  std::array<RankAreas, kMostRanks> areas_;
  Communicators communicators_;
  int passed_ = 0;
  int failed_ = 0;
  RankTeam team_{kMostRanks, kLimit};  // last: its threads use all of the above
};

}  // namespace tutti
