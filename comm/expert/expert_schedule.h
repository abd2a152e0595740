// The schedules of dispatch and combine, as data: pure functions of a routing that has been
// prepared and of what is to be done with it.
//
// A source's tokens are cut into slices of `slice` tokens, the same on all ranks. The rows that a
// source has for a rank in a slice are one message, and so are those that come back; empty messages
// are not sent. Round j of a rank sends slice j to every other rank and takes, a few rounds later,
// slice j of every other one: so all move in step, nobody is more than the window ahead, and the
// memory that combine needs does not depend on the routing.
#pragma once

#include <cstdint>
#include <span>

#include "comm/expert/arrivals.h"
#include "comm/expert/entries.h"
#include "comm/expert/row_layout.h"
#include "comm/expert/types.h"
#include "comm/schedule/schedule.h"

namespace tutti {

// A routing as both sides of one rank see it (handle.h).
struct Routed {
  int rank = 0;
  int nranks = 1;
  const ExpertShape* shape = nullptr;
  uint32_t tokens = 0;             // of this rank
  std::span<const float> weights;  // [T * K] of this rank, or empty
  const Departures* departures = nullptr;
  const Arrivals* arrivals = nullptr;
  const RowsOfArrivals* rows = nullptr;
  int ranks_per_node = 1;
  const Entries* departure_entries = nullptr;
  const Entries* arrival_entries = nullptr;
};

// How many slices a rank is ahead with what it sends.
inline constexpr uint32_t kDispatchWindow = 6;
inline constexpr uint32_t kCombineWindow = 3;

struct DispatchWork {
  uint32_t slice = 64;
  ExpertAlgo algo = ExpertAlgo::kDirect;
  bool quantise = false;  // rows and scales travel out of kScratch and kScratchSide, by token
  bool scales = false;    // kInputSide to kOutputSide travels as the rows do
  bool values = false;    // kInputValue [T * K] to kOutputValue, one for each assignment
  bool weighted = false;  // each row times the weight of its assignment; not with quantise, scales
};
void build_dispatch(const Routed& routed, const DispatchWork& work, Schedule* out);

enum class ExpertReduce : uint8_t { kSlot, kRank, kNode };
inline ExpertReduce auto_reduce(const Placement& placement) {
  return placement.num_nodes() > 1 ? ExpertReduce::kNode : ExpertReduce::kRank;
}

struct CombineWork {
  uint32_t slice = 64;
  ExpertReduce reduce = ExpertReduce::kRank;
  bool weighted = false;    // rows are multiplied by the weights of their assignments
  bool same_type = true;    // partial sums have the type of the rows: single rows need no sum
  uint32_t num_biases = 0;  // kBias0, kBias1
  bool values = false;      // kInputValue, as kOutputValue of dispatch, to kOutputValue [T * K]
};
void build_combine(const Routed& routed, const CombineWork& work, Schedule* out);

// That of kNode; build_combine() calls it.
void build_node_combine(const Routed& routed, const CombineWork& work, Schedule* out);

// Rows of kScratch that combine uses, whatever the routing. `slots`: of a token that one rank sends
// back: K of kSlot, else 1.
uint64_t combine_scratch_rows(int nranks, uint32_t slice, uint32_t slots);
uint64_t node_combine_scratch_rows(int nranks, uint32_t slice);

}  // namespace tutti
