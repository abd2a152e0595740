#include "tests/matrix/thread_team.h"

#include <algorithm>

namespace tutti {

Verdict ThreadTeam::run(int n, const std::string& what, const Job& job) {
  std::array<Verdict, kMostRanks> verdicts{};
  threads_.run(n, what, [&](int rank) { verdicts[static_cast<size_t>(rank)] = job(rank); });
  return *std::max_element(verdicts.begin(), verdicts.end());
}

tuttiResult_t ThreadTeam::create(int n, const tuttiConfig_t& config, tuttiComm_t* handles) {
  return tuttiCommInitAll(handles, n, &config);
}

uint8_t* ThreadTeam::allocate(size_t bytes) {
  // Not cleared: some are gigabytes in all.
  blocks_.push_back(std::make_unique_for_overwrite<uint8_t[]>(bytes + 1));
  return blocks_.back().get();
}

}  // namespace tutti
