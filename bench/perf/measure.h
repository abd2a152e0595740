// Measuring one case on several systems, in turns, so that all see the same minutes of the machine.
// One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/perf/case.h"
#include "bench/perf/options.h"
#include "bench/perf/system.h"

namespace perf {

// What one system did on one case.
struct Row {
  double p50_us = 0;  // median of the batches, each timed by its slowest rank
  double p99_us = 0;  // of single calls
  double algbw_gbs = 0;
  double busbw_gbs = 0;
  double cpu_us = 0;              // user and system time of all ranks' processes, per call
  std::optional<uint64_t> wrong;  // nothing: not checked
  std::vector<double> batch_us;
};

struct CaseResult {
  Case c;
  size_t bytes = 0;
  std::vector<std::optional<Row>> rows;  // by system; nothing: it lacks the case
  // The best peer's time over that of the first system: the median over pairs of batches.
  std::optional<double> ratio;
};

using Systems = std::vector<std::unique_ptr<System>>;  // the first one is Tutti

tutti::Result<CaseResult> measure(const Case& c, const Systems& systems, const Options& options);

double median(std::vector<double> values);
// The smallest value that at least `percent` of them do not exceed.
double percentile(std::vector<double> values, double percent);

}  // namespace perf
