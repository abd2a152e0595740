// ExpertGroup: the ranks of a communicator that run the experts of a model: who has which, the
// channels of their own, and all memory that their operations use.
//
// Threads: as the communicator's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/expert/agreement.h"
#include "comm/expert/failures.h"
#include "comm/expert/group_stats.h"
#include "comm/expert/masks.h"
#include "comm/expert/placement.h"
#include "comm/runtime/communicator.h"
#include "comm/runtime/lane_channels.h"

namespace tutti {

class ExpertHandle;

struct ExpertGroupConfig {
  PlacementConfig placement;
  uint32_t max_tokens = 0;
  uint32_t max_topk = 1;
  uint64_t max_token_bytes = 0;
  uint32_t max_inflight = 2;
  ExpertAlgo algo = ExpertAlgo::kDirect;
  // Null: the transport's.
  void* (*alloc)(size_t bytes, void* context) = nullptr;
  void (*release)(void* memory, void* context) = nullptr;
  void* context = nullptr;
};

// What Prepare works in. One at a time: the operations of a group run one after another.
struct PrepareMemory {
  std::byte* mine;        // ExpertCounts of this rank
  std::byte* all;         // of all
  std::byte* routed_out;  // what other ranks are told, and what they tell
  std::byte* routed_in;
  uint32_t* used;    // [max(E, R)]
  uint32_t* wanted;  // [E] of this rank's assignments, before any are dropped
  uint32_t* order;   // [maxT * max_topk]
};

class ExpertGroup {
 public:
  // What the rows of the operation that runs are computed with.
  struct Runner {
    explicit Runner(const Capabilities& capabilities) : plan(capabilities) {}
    Schedule schedule;
    Plan plan;
    Execution execution;
  };
  // What dispatch and combine stage rows and values in.
  struct ScratchMemory {
    std::byte* rows;
    std::byte* values;
  };

  // Bytes that a group of `nranks` ranks allocates.
  static size_t memory_bytes(const ExpertGroupConfig& config, int nranks);
  // Collective: waits until all ranks have said that they have the same config, and memory. The
  // rank's own fault is told as it is, that of another one as kRemoteError, a difference as
  // kInvalidArgument on all ranks. `number`: of this group among those of the communicator. `own`:
  // what is wrong with the config already.
  static Result<std::unique_ptr<ExpertGroup>> create(Communicator& comm, uint32_t number,
                                                     const ExpertGroupConfig& config,
                                                     const Status& own);
  ~ExpertGroup();
  ExpertGroup(const ExpertGroup&) = delete;
  ExpertGroup& operator=(const ExpertGroup&) = delete;

  Communicator& comm() { return comm_; }
  const ExpertGroupConfig& config() const { return config_; }
  const Placement& placement() const { return placement_; }
  LaneChannels& channels() { return channels_; }
  ExpertMasks& masks() { return masks_; }
  GroupFailures& failures() { return failures_; }
  // What failures() has, or what has ended the communicator. Any thread.
  GroupFailures::Failure async_error();
  const PrepareMemory& prepare_memory() const { return prepare_; }
  const ScratchMemory& scratch() const { return scratch_; }
  Runner& runner() { return runner_; }
  GroupStats& stats() { return stats_; }
  // Tokens of a slice (expert_schedule.h): the same on all ranks, for any type of rows.
  uint32_t slice() const;

  // The same experts elsewhere: as Placement::make() with what the group was created with. None of
  // the group's memory depends on where they are.
  Result<Placement> other_placement(const int32_t* expert_rank, const int32_t* phys_to_log) const;
  // While the group is idle, on all ranks alike: its handles have no routing afterwards.
  void adopt(Placement placement);
  // A handle's, for its lifetime.
  void add(ExpertHandle* handle) { handles_.push_back(handle); }
  void remove(ExpertHandle* handle);

  Order order() const { return {Order::Kind::kExpert, 0, number_}; }
  // Operations that use it. Any thread.
  bool is_idle() const { return users_.load(std::memory_order_acquire) == 0; }
  void begin_use() { users_.fetch_add(1, std::memory_order_relaxed); }
  void end_use() { users_.fetch_sub(1, std::memory_order_release); }  // pairs with is_idle()
  // Of the next operation.
  uint64_t next_sequence() { return sequence_++; }

 private:
  ExpertGroup(Communicator& comm, uint32_t number, const ExpertGroupConfig& config)
      : comm_(comm),
        number_(number),
        config_(config),
        masks_(comm.nranks()),
        channels_(comm.transport(), comm.id(), Plane::kExpert, number, comm.parts().peers),
        runner_(comm.transport().capabilities()) {}
  Status set_up();
  Status allocate();

  Communicator& comm_;
  const uint32_t number_;
  const ExpertGroupConfig config_;
  Placement placement_ = Placement();
  ExpertMasks masks_;
  GroupFailures failures_;
  LaneChannels channels_;
  std::vector<ExpertHandle*> handles_;
  std::atomic<int> users_{0};
  uint64_t sequence_ = 0;
  void* memory_ = nullptr;
  PrepareMemory prepare_ = {};
  ScratchMemory scratch_ = {};
  Runner runner_;
  GroupStats stats_;
};

}  // namespace tutti
