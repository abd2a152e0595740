// The table on standard output: one line a size, one group of columns a system; of experts one line
// a system. One thread.
#pragma once

#include <string>

#include "bench/perf/measure.h"

namespace perf {

// Who runs where: once per invocation.
std::string describe_ranks(const Systems& systems);
// What is measured, and the heads of the columns: once per collective, or case of experts.
std::string table_head(const Case& c, const Systems& systems, const Options& options);
std::string table_line(const CaseResult& result, const Systems& systems);

}  // namespace perf
