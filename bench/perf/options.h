// The command line of tutti-perf. Value types; plain functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/perf/case.h"

namespace perf {

struct Options {
  std::vector<Collective> collectives;
  std::vector<ExpertShape> shapes;  // of expert_* only
  std::optional<int> ranks;         // -n
  size_t smallest = 8;
  size_t largest = size_t{64} << 20;
  int factor = 4;
  tutti::DataType dtype = tutti::DataType::kFloat32;
  tutti::ReduceOp op = tutti::ReduceOp::kSum;
  int root = kRotatingRoot;
  std::string transport = "auto";
  bool registered = false;
  std::string algorithm;  // "": the selector's choice
  bool in_place = false;
  std::optional<int> iterations;
  std::optional<int> warmup;
  int batches = 11;
  bool check = true;
  std::vector<std::string> peers;
  std::string json;
  std::string plot;
  double timeout_seconds = 600;

  // "select": measures the algorithms of each collective for the selector's table.
  bool select = false;
  int rounds = 3;

  // "serve": what tutti-perf starts itself as.
  bool serve = false;
  std::string socket;
  std::string algorithms;  // as tuttiConfig_t.algorithms
  int threads = 0;
};

// Either a code to exit with (help was printed, or stderr says what is wrong), or options.
struct CommandLine {
  std::optional<int> exit_code;
  Options options;
};
CommandLine read_command_line(int argc, char** argv);

// "8", "4K", "64M", "1G".
std::optional<size_t> parse_bytes(std::string_view text);

// The cases of one collective, smallest first; sizes that come to the same count are one case.
std::vector<Case> cases_of(const Options& options, Collective collective, int nranks);

}  // namespace perf
