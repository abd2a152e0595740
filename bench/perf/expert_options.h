// The options of dispatch and combine: what they say beside those of every collective. Values;
// plain functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/perf/expert_case.h"
#include "comm/base/status.h"
#include "comm/tools/cli.h"

namespace perf {

// What the command line says, before it is understood.
struct RawExpert {
  std::optional<int> hidden, topk, experts, ranks_per_node;
  std::string tokens = "4096,128", layout = "flat", quant = "none", reduce = "rank";
  std::string direction = "fwd", routing = "uniform", peer_stores = "streaming";
};
void add_expert_options(tutti::Cli::Command& command, RawExpert* raw);

// A shape for each layout and each number of tokens; `algorithm` "": auto.
tutti::Status take_shapes(const RawExpert& raw, const std::string& algorithm,
                          std::vector<ExpertShape>* shapes);

// "a,b" -> {"a", "b"}.
std::vector<std::string> split_at_commas(const std::string& text);

// Which systems do the work of experts beside Tutti. A name without a way stands for all its ways.
tutti::Status take_expert_peers(const std::string& given, std::vector<std::string>* out);

}  // namespace perf
