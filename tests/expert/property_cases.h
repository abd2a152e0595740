// What Dispatch and Combine are as maps, on all ranks of a problem, wherever the ranks are: how
// they belong together, that they are linear, and that nothing of what was before is left in them.
#pragma once

#include "tests/expert/rows_cases.h"

namespace tutti {

// <D x, y> == <x, C y>, exactly, with weights and without; some rank has no tokens.
void expect_adjoint(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
// C D x == x times the number of rows that the token has, or the sum of their weights.
void expect_there_and_back(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
// M(2 x - 3 x') == 2 M x - 3 M x', exactly, for both.
void expect_linear(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
// A handle through 100 operations: each as on a handle prepared for it alone, and the same again.
void expect_handle_lasts(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
// The same from two groups, whatever memory the rows lie in.
void expect_same_twice(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
// Steps of many tokens, few, none, many on one handle.
void expect_nothing_stale(const RunRanks& run, const oracle::Problem& p, uint64_t seed);
// Gradients of weights against differences of sums in f64. Layouts by expert only.
void expect_weight_gradient(const RunRanks& run, const oracle::Problem& p, uint64_t seed);

}  // namespace tutti
