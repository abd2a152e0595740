// `tutti-perf select`: the algorithms of a collective in turns, each a set of ranks of its own, and
// what the selector's table should say of them. One thread.
#pragma once

#include <string>
#include <vector>

#include "bench/perf/measure.h"
#include "bench/perf/selection.h"

namespace perf {

struct Contested {
  Systems systems;  // of the last round, named after their algorithms; their ranks have left
  std::vector<CaseResult> results;  // of all rounds
  std::vector<tutti::SelectionRow> rows;
};

// Measures `cases`, which are of one collective, smallest first, in options.rounds rounds, and
// prints a line for each. kAborted: a signal asked for the end.
tutti::Result<Contested> contest(const std::vector<Case>& cases, const Options& options,
                                 int nranks);

}  // namespace perf
