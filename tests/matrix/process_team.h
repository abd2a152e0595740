// ProcessTeam: one rank per process, in the job that a launcher has described in the environment.
//
// The processes share one host, and besides the transport under test one mapping of a file without
// a name: a case is prepared once for all of them, and a broken transport cannot break the harness.
// Waits are bounded by a watchdog. Thread: as Team; jobs run on a thread that stays the same.
#pragma once

#include <memory>

#include "tests/matrix/team.h"
#include "tests/support/ranks.h"

namespace tutti {

class ProcessTeam final : public Team {
 public:
  // Joins the job over this transport. Null when that fails: `error` says why.
  static std::unique_ptr<ProcessTeam> join(const std::string& transport, std::string* error);
  ~ProcessTeam() override;

  int size() const override { return size_; }
  const char* transport() const override { return transport_.c_str(); }
  bool is_speaker() const override { return rank_ == 0; }
  Verdict run(int n, const std::string& what, const Job& job) override;
  tuttiResult_t create(int n, const tuttiConfig_t& config, tuttiComm_t* handles) override;
  uint8_t* allocate(size_t bytes) override;
  void release() override { used_ = 0; }
  std::atomic<uint64_t>* counters() override;

 private:
  struct Shared;

  ProcessTeam(const std::string& transport, tuttiComm_t world);
  std::string map_shared();
  void wait_for_all();

  const std::string transport_;
  const tuttiComm_t world_;
  int rank_ = 0;
  int size_ = 0;
  Shared* shared_ = nullptr;
  size_t used_ = 0;  // of what follows *shared_
  uint64_t runs_ = 0;
  RankTeam watched_{1, kCaseLimit};
};

}  // namespace tutti
