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
#include "bench/perf/rank_server.h"
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
  // Of experts: what all ranks together have sent, where it is counted; the time over that of the
  // limit, and of the first system, the medians over pairs of batches.
  std::optional<Sent> sent;
  std::optional<double> over_bound;
  std::optional<double> over_first;
  std::vector<double> batch_us;
};

struct CaseResult {
  Case c;
  size_t bytes = 0;
  std::vector<std::optional<Row>> rows;  // by system; nothing: it lacks the case
  // The best peer's time over that of the first system: the median over pairs of batches.
  std::optional<double> ratio;
  std::optional<Tiers> least;  // of experts: bytes that must be sent
};

using Systems = std::vector<std::unique_ptr<System>>;  // the first one is Tutti

tutti::Result<CaseResult> measure(const Case& c, const Systems& systems, const Options& options);

// Payload sent over what must be; nothing where it is not counted, or none need be.
std::optional<double> bytes_over_least(const CaseResult& result, const Row& row);

double median(std::vector<double> values);
// The smallest value that at least `percent` of them do not exceed.
double percentile(std::vector<double> values, double percent);

}  // namespace perf
