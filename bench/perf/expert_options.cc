#include "bench/perf/expert_options.h"

#include <algorithm>
#include <charconv>

namespace perf {

using tutti::Code;
using tutti::Status;

namespace {

constexpr int kMost = 1 << 24;
constexpr const char* kPeers[] = {"openmpi-dedup", "openmpi-assign", "mpich-dedup", "mpich-assign",
                                  "gloo-a2av",     "gloo-ag-rs",     "limit"};

Status wrong_value(const char* option, const char* expected, const std::string& got) {
  return tutti::error(Code::kInvalidArgument, "%s: expected %s, got \"%s\"", option, expected,
                      got.c_str());
}

Status take(const char* option, const std::optional<int>& given, int least, int* out) {
  if (!given) return {};
  if (*given < least || *given > kMost) {
    return tutti::error(Code::kInvalidArgument, "%s: expected %d to %d, got %d", option, least,
                        kMost, *given);
  }
  *out = *given;
  return {};
}

Status take_words(const RawExpert& raw, const std::string& algorithm, ExpertShape* shape) {
  const auto quant = parse_quant(raw.quant);
  if (!quant) {
    return wrong_value("--quant", "none, fp8e4m3_b128, int8_token or forward", raw.quant);
  }
  shape->quant = *quant;
  const auto algo = parse_expert_algo(algorithm.empty() ? "auto" : algorithm);
  if (!algo) return wrong_value("--algo", "auto, direct, hier or allgather", algorithm);
  shape->algo = *algo;
  const auto reduce = parse_reduce(raw.reduce);
  if (!reduce) return wrong_value("--reduce", "slot, rank or node", raw.reduce);
  shape->reduce = *reduce;
  if (raw.direction != "fwd" && raw.direction != "bwd") {
    return wrong_value("--direction", "fwd or bwd", raw.direction);
  }
  shape->backward = raw.direction == "bwd";
  if (shape->backward && shape->quant != ExpertQuant::kNone) {
    return wrong_value("--quant", "none with --direction bwd", raw.quant);
  }
  if (raw.peer_stores != "streaming" && raw.peer_stores != "cached") {
    return wrong_value("--peer-stores", "streaming or cached", raw.peer_stores);
  }
  shape->peers_stream = raw.peer_stores == "streaming";
  if (parse_routing(raw.routing, shape)) return {};
  return wrong_value("--routing", "uniform, one or zipf:S with S from 0 to 10", raw.routing);
}

Status take_sizes(const RawExpert& raw, ExpertShape* shape) {
  TUTTI_TRY(take("--hidden", raw.hidden, 1, &shape->hidden));
  TUTTI_TRY(take("--topk", raw.topk, 1, &shape->topk));
  TUTTI_TRY(take("--experts", raw.experts, 1, &shape->experts));
  TUTTI_TRY(take("--ranks-per-node", raw.ranks_per_node, 0, &shape->ranks_per_node));
  if (shape->topk <= std::min(shape->experts, 64)) return {};
  return tutti::error(Code::kInvalidArgument,
                      "--topk: expected at most 64 and --experts %d, got %d", shape->experts,
                      shape->topk);
}

}  // namespace

void add_expert_options(tutti::Cli::Command& command, RawExpert* raw) {
  command.option("--tokens", &raw->tokens, "of each rank, numbers with commas (4096,128)");
  command.option("--hidden", &raw->hidden, "elements of a row, bf16 (7168)");
  command.option("--topk", &raw->topk, "experts of each token (8)");
  command.option("--experts", &raw->experts, "experts of all ranks together (64)");
  command.option("--layout", &raw->layout,
                 "flat, expert_major, expert_slab, rank_major; several with commas (flat)");
  command.option("--quant", &raw->quant, "none, fp8e4m3_b128, int8_token or forward (none)");
  command.option("--reduce", &raw->reduce, "of combine: slot, rank or node (rank)");
  command.option("--direction", &raw->direction,
                 "fwd, or bwd: dispatch by expert multiplies by weights (fwd)");
  command.option("--routing", &raw->routing, "uniform, zipf:S or one (uniform)");
  command.option("--peer-stores", &raw->peer_stores,
                 "how peers write what they pack, copy and add: streaming (where that is faster) "
                 "or cached (streaming)");
  command.option("--ranks-per-node", &raw->ranks_per_node, "as if nodes were so large (one node)");
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> words;
  size_t at = 0;
  while (at < text.size()) {
    const size_t comma = std::min(text.find(',', at), text.size());
    words.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return words;
}

Status take_shapes(const RawExpert& raw, const std::string& algorithm,
                   std::vector<ExpertShape>* shapes) {
  ExpertShape shape;
  TUTTI_TRY(take_words(raw, algorithm, &shape));
  TUTTI_TRY(take_sizes(raw, &shape));
  for (const std::string& name : split_at_commas(raw.layout)) {
    const auto layout = parse_layout(name);
    if (!layout) {
      return wrong_value("--layout", "flat, expert_major, expert_slab or rank_major", name);
    }
    shape.layout = *layout;
    for (const std::string& tokens : split_at_commas(raw.tokens)) {
      const char* const end = tokens.data() + tokens.size();
      const auto [read, problem] = std::from_chars(tokens.data(), end, shape.tokens);
      if (problem != std::errc() || read != end || shape.tokens < 1 || shape.tokens > kMost) {
        return wrong_value("--tokens", "numbers of at least 1", raw.tokens);
      }
      shapes->push_back(shape);
    }
  }
  if (!shapes->empty()) return {};
  return wrong_value("--tokens and --layout", "at least one of each", raw.tokens + raw.layout);
}

Status take_expert_peers(const std::string& given, std::vector<std::string>* out) {
  for (const std::string& name : split_at_commas(given)) {
    bool known = false;
    for (const std::string peer : kPeers) {
      if (peer != name && peer.substr(0, peer.find('-')) != name) continue;
      known = true;
      if (std::find(out->begin(), out->end(), peer) == out->end()) out->push_back(peer);
    }
    if (known) continue;
    return wrong_value(
        "--peers", "openmpi, mpich, gloo, one way of theirs such as openmpi-dedup, or limit", name);
  }
  return {};
}

}  // namespace perf
