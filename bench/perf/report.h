// The rows as JSON, for people's scripts and for the plot. One thread.
#pragma once

#include <string>
#include <vector>

#include "bench/perf/contest.h"
#include "bench/perf/measure.h"

namespace perf {

// {"meta": {...}, "rows": [...]}; docs/benchmarks.md describes it.
std::string to_json(const std::vector<CaseResult>& results, const Systems& systems,
                    const Options& options);
// Of `tutti-perf select`, with the rows of the table in "table".
std::string to_json(const std::vector<Contested>& contests, const Options& options);
tutti::Status write_file(const std::string& path, const std::string& text);

}  // namespace perf
