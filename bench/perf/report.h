// The rows as JSON, for people's scripts and for the plot. One thread.
#pragma once

#include <string>
#include <vector>

#include "bench/perf/measure.h"

namespace perf {

// {"meta": {...}, "rows": [...]}; docs/benchmarks.md describes it.
std::string to_json(const std::vector<CaseResult>& results, const Systems& systems,
                    const Options& options);
tutti::Status write_file(const std::string& path, const std::string& text);

}  // namespace perf
