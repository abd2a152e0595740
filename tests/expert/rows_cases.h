// Dispatch and combine on all ranks of a problem, every byte against the oracle; wherever the ranks
// are.
#pragma once

#include <functional>

#include "tests/expert/ep_calls.h"

namespace tutti {

// Calls body(rank, communicator) for the ranks of a communicator of `nranks` that are here, each
// once.
using RunRanks = std::function<void(int nranks, const std::function<void(int, tuttiComm_t)>& body)>;

struct EpDispatch {
  EpDispatch() {
    in.hdr = TUTTI_EP_HDR(tuttiEpDispatchIn_t);
    out.hdr = TUTTI_EP_HDR(tuttiEpDispatchOut_t);
    config.hdr = TUTTI_EP_HDR(tuttiEpOpConfig_t);
  }
  tuttiResult_t run(tuttiEpHandle_t handle) const {
    return tuttiEpDispatch(handle, &in, &out, &config, nullptr);
  }
  tuttiEpDispatchIn_t in = {};
  tuttiEpDispatchOut_t out = {};
  tuttiEpOpConfig_t config = {};
};

struct EpCombine {
  EpCombine() {
    in.hdr = TUTTI_EP_HDR(tuttiEpCombineIn_t);
    out.hdr = TUTTI_EP_HDR(tuttiEpCombineOut_t);
    config.hdr = TUTTI_EP_HDR(tuttiEpOpConfig_t);
  }
  tuttiResult_t run(tuttiEpHandle_t handle) const {
    return tuttiEpCombine(handle, &in, &out, &config, nullptr);
  }
  tuttiEpCombineIn_t in = {};
  tuttiEpCombineOut_t out = {};
  tuttiEpOpConfig_t config = {};
};

// Random, of few ranks and tokens, all layouts and capacities; never too large for its slabs.
oracle::Problem rows_problem(uint64_t seed);

// Two ranks with more numbers for each other than a message may have parts.
oracle::Problem many_values_problem(oracle::Layout layout);

void expect_dispatched(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
void expect_quantised(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
// Backward: rows times the weights of their assignments. Layouts by expert only.
void expect_weighted(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
void expect_combined(const RunRanks& run, const oracle::Problem& p, uint64_t seed);

// A group whose experts move from step to step, with handles in memory of the caller's.
void expect_placements(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
void expect_placement_refused(const RunRanks& run);

// Three ranks agree on who is masked, and readmit; what handles and masked ranks have of it.
void expect_masks_agreed(const RunRanks& run);
void expect_masked_rank_is_alone(const RunRanks& run);
void expect_readmitted(const RunRanks& run);

// One of three ranks is wrong: what each is told, and that what follows is right.
oracle::Problem refusal_problem();
void expect_dispatch_refused(const RunRanks& run);
void expect_combine_refused(const RunRanks& run);

}  // namespace tutti
