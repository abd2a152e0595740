// ThreadTeam: eight ranks as threads of this process, over inproc. Thread: as Team.
#pragma once

#include <array>
#include <memory>

#include "tests/matrix/team.h"
#include "tests/support/ranks.h"

namespace tutti {

class ThreadTeam final : public Team {
 public:
  int size() const override { return kMostRanks; }
  const char* transport() const override { return "inproc"; }
  bool is_speaker() const override { return true; }
  Verdict run(int n, const std::string& what, const Job& job) override;
  tuttiResult_t create(int n, const tuttiConfig_t& config, tuttiComm_t* handles) override;
  uint8_t* allocate(size_t bytes) override;
  void release() override { blocks_.clear(); }
  std::atomic<uint64_t>* counters() override { return counters_.data(); }

 private:
  std::vector<std::unique_ptr<uint8_t[]>> blocks_;
  std::array<std::atomic<uint64_t>, kMostRanks> counters_{};
  RankTeam threads_{kMostRanks, kCaseLimit};
};

}  // namespace tutti
