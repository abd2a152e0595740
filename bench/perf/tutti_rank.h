// TuttiRank: the RankSystem of one communicator. One thread. Borrows the communicator.
#pragma once

#include <memory>
#include <string>

#include "tutti/tutti.h"

#include "bench/perf/rank_server.h"
#include "bench/perf/tutti_expert.h"

namespace perf {

class TuttiRank : public RankSystem {
 public:
  explicit TuttiRank(tuttiComm_t comm);

  int rank() const override { return rank_; }
  int nranks() const override { return nranks_; }
  std::string version() const override;
  std::string lacks(const Case& c) const override;
  tutti::Result<void*> allocate(const Case& c, size_t bytes) override;
  void free(void* memory) override;
  tutti::Status prepare(const Case& c, void* send_memory, void* recv_memory) override;
  void finish(const Case& c) override;
  tutti::Status run(const Call& call) override;
  tutti::Status barrier() override;
  std::optional<Sent> sent() const override { return expert_ ? expert_->sent() : std::nullopt; }

 private:
  tuttiResult_t submit(const Call& call);
  tuttiResult_t send_recv(const Call& call);
  tutti::Status register_buffers(void* send_memory, void* recv_memory);

  tuttiComm_t comm_;
  int rank_ = 0;
  int nranks_ = 0;
  bool registered_ = false;       // how the buffers of the present case were allocated
  size_t allocated_[2] = {0, 0};  // bytes to send from, and to receive into
  tuttiWindow_t windows_[2] = {nullptr, nullptr};
  Blocks sent_;      // all_to_all_v
  Blocks received_;  // all_to_all_v
  std::unique_ptr<TuttiExpert> expert_;
};

// The status of a call on `comm` (NULL: of this thread).
tutti::Status status_of(tuttiResult_t result, tuttiComm_t comm);

// How tutti-perf makes communicators: `transport` and `algorithms` as in tuttiConfig_t, "" unset.
struct TuttiSettings {
  std::string transport;
  std::string algorithms;
};

// The ranks of a harness at `socket`: `threads` > 0: all of them, in this process; else the one
// whose number is in the environment. The exit code.
int serve_tutti(const std::string& socket, const TuttiSettings& settings, int threads);

// The communicator of the ranks that a launcher started.
tutti::Result<tuttiComm_t> join_launched_ranks(const TuttiSettings& settings);
// Ends it.
tutti::Status leave(tuttiComm_t comm);

}  // namespace perf
