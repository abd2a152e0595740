// Tensors as callers may have them: rows with gaps, ids of 32 bits, as many experts a token as
// there can be; and what the caller lends for reading is never written.
#pragma once

#include "tests/expert/rows_cases.h"

namespace tutti {

// Prepare and Dispatch, with scales of the caller's on every other seed.
void expect_dispatched_with_gaps(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
void expect_combined_with_gaps(const RunRanks& run, const oracle::Problem& p, uint64_t seed);

// Two ranks, K = 64.
oracle::Problem widest_problem(oracle::Layout layout);

}  // namespace tutti
