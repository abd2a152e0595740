// What zero_copy must do, wherever the ranks are.
#pragma once

#include "tests/expert/rows_cases.h"

namespace tutti {

// What peers can read where it lies: any memory; that of the library; none.
enum class Reach { kAll, kShared, kNone };

// Dispatch and Combine: where it is possible nothing is staged and the bits are those of any other
// way; where it is not, the ranks that would have to copy are told, the others hear of it, and what
// follows is right.
void expect_zero_copy(const RunRanks& run, const oracle::Problem& p, uint64_t seed, Reach reach);
// The group's memory is not the library's: quantised rows cannot be read there.
void expect_zero_copy_needs_the_groups_memory(const RunRanks& run, Reach reach);

}  // namespace tutti
