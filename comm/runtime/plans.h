// Plans: the channels of a communicator's collectives and the plans bound to them, cached by shape.
//
// The cache is keyed by what shapes a plan (collective, counts and displacements, type, operator,
// place, root), never by pointers, and bounded: the least recently used plan that no operation
// holds goes first. Thread: calls of one communicator, one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "comm/exec/execution.h"
#include "comm/exec/plan.h"
#include "comm/runtime/call.h"
#include "comm/runtime/lane_channels.h"
#include "comm/runtime/select.h"

namespace tutti {

// What calls of one shape have in common.
struct BoundCall {
  std::unique_ptr<Plan> plan;
  Arithmetic how;
  CallRecord record;  // but for the sequence
  int holders = 0;    // operations that are queued or run with it
};

class Plans {
 public:
  // `peers[r]`: transport-wide number of rank r. `machine`: the same on every rank.
  // `cache_bytes`: of the last-level cache. All references outlive this.
  Plans(Transport& transport, uint64_t comm_id, int rank, std::vector<int> peers,
        const Config& config, MachineClass machine, size_t cache_bytes);

  // The plan for `call`, bound now if it is not cached. The caller counts itself among holders
  // while it needs it.
  Result<BoundCall*> find(const CollectiveCall& call) {
    // One of the last few once more is what most calls ask for.
    Cached* const recent = recent_[recent_slot(call)];
    if (recent != nullptr && call.equal() && is_for(*recent, call, call)) return &recent->bound;
    return look_up(call);
  }
  void release(BoundCall* bound) { --bound->holders; }

 private:
  struct ShapeHash {
    size_t operator()(const CallShape& s) const;
  };
  struct Cached {
    CallShape shape;  // with the hash of blocks that differ for `count`
    BoundCall bound;
    bool equal;
    // Where blocks differ.
    bool counts_known;
    uint64_t counts_hash;
    CollectiveCall::Blocks blocks;
  };
  static constexpr size_t kMostCached = 128;
  static constexpr size_t kRecent = 16;  // as many roots in turns

  static CallShape shape_of(const CollectiveCall& call);
  // Equal shapes of blocks that differ are all but certainly, and not certainly, equal calls.
  static bool is_for(const Cached& cached, const CallShape& shape, const CollectiveCall& call) {
    return cached.shape == shape && cached.equal == call.equal() &&
           (call.equal() || has_blocks_of(cached, call));
  }
  static size_t recent_slot(const CallShape& shape) {
    const size_t root_and_kind =
        static_cast<size_t>(shape.root) + static_cast<size_t>(shape.collective) * 5;
    return (root_and_kind + shape.count) % kRecent;
  }
  static bool has_blocks_of(const Cached& cached, const CollectiveCall& call);
  Result<BoundCall*> look_up(const CollectiveCall& call);
  Status bind(const CollectiveCall& call, BoundCall* bound);
  Arithmetic arithmetic_of(const CollectiveCall& call, size_t working_set) const;
  void make_room();
  uint32_t slots_bound(const Algorithm& algorithm);

  Transport& transport_;
  const int rank_;
  const std::vector<int> peers_;
  LaneChannels channels_;
  const Config& config_;
  const MachineClass machine_;
  const size_t cache_bytes_;
  std::list<Cached> cache_;  // most recently used first, but for use through recent_
  std::array<Cached*, kRecent> recent_{};
  std::unordered_map<CallShape, std::list<Cached>::iterator, ShapeHash> index_;
  std::unordered_map<const Algorithm*, uint32_t> slots_;
  Schedule schedule_;  // arena for building
};

}  // namespace tutti
