#include "bench/perf/expert_case.h"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace perf {

namespace {

constexpr std::array<const char*, kNumExpertLayouts> kLayouts = {"flat", "expert_major",
                                                                 "expert_slab", "rank_major"};
constexpr std::array<const char*, kNumExpertQuants> kQuants = {"none", "forward", "fp8e4m3_b128",
                                                               "int8_token"};
constexpr std::array<const char*, kNumExpertAlgos> kAlgos = {"auto", "direct", "hier", "allgather"};
constexpr std::array<const char*, kNumExpertReduces> kReduces = {"slot", "rank", "node"};

constexpr size_t kBlock = 128;  // elements that share a scale

template <typename Enum, size_t n>
std::optional<Enum> find(const std::array<const char*, n>& names, std::string_view name) {
  for (size_t i = 0; i < n; ++i) {
    if (name == names[i]) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace

const char* name_of(ExpertLayout layout) { return kLayouts[static_cast<size_t>(layout)]; }
const char* name_of(ExpertQuant quant) { return kQuants[static_cast<size_t>(quant)]; }
const char* name_of(ExpertAlgo algo) { return kAlgos[static_cast<size_t>(algo)]; }
const char* name_of(ExpertReduce reduce) { return kReduces[static_cast<size_t>(reduce)]; }

std::string routing_name(const ExpertShape& shape) {
  if (shape.routing == RoutingKind::kUniform) return "uniform";
  if (shape.routing == RoutingKind::kOne) return "one";
  char text[32];
  std::snprintf(text, sizeof text, "zipf:%g", shape.zipf);
  return text;
}

std::optional<ExpertLayout> parse_layout(std::string_view name) {
  return find<ExpertLayout>(kLayouts, name);
}
std::optional<ExpertQuant> parse_quant(std::string_view name) {
  return find<ExpertQuant>(kQuants, name);
}
std::optional<ExpertAlgo> parse_expert_algo(std::string_view name) {
  return find<ExpertAlgo>(kAlgos, name);
}
std::optional<ExpertReduce> parse_reduce(std::string_view name) {
  return find<ExpertReduce>(kReduces, name);
}

bool parse_routing(const std::string& name, ExpertShape* shape) {
  if (name == "uniform" || name == "one") {
    shape->routing = name == "one" ? RoutingKind::kOne : RoutingKind::kUniform;
    return true;
  }
  if (name.rfind("zipf:", 0) != 0) return false;
  char* end = nullptr;
  shape->routing = RoutingKind::kZipf;
  shape->zipf = std::strtod(name.c_str() + 5, &end);
  return end != name.c_str() + 5 && *end == '\0' && shape->zipf >= 0 && shape->zipf <= 10;
}

bool is_by_expert(ExpertLayout layout) {
  return layout == ExpertLayout::kExpertMajor || layout == ExpertLayout::kExpertSlab;
}

int node_of(const ExpertShape& shape, int rank) {
  return shape.ranks_per_node > 0 ? rank / shape.ranks_per_node : 0;
}

size_t delivered_bytes(const ExpertShape& shape) {
  return static_cast<size_t>(shape.hidden) * (shape.quant == ExpertQuant::kNone ? 2 : 1);
}

size_t scale_bytes(const ExpertShape& shape) {
  if (shape.quant == ExpertQuant::kNone) return 0;
  if (shape.quant == ExpertQuant::kInt8Token) return sizeof(float);
  return (static_cast<size_t>(shape.hidden) + kBlock - 1) / kBlock * sizeof(float);
}

std::string encode_shape(const ExpertShape& s) {
  char text[160];
  std::snprintf(text, sizeof text, "%d %d %d %d %d %d %d %d %d %d %.17g %d %d", s.tokens, s.hidden,
                s.topk, s.experts, static_cast<int>(s.layout), static_cast<int>(s.quant),
                static_cast<int>(s.algo), static_cast<int>(s.reduce), static_cast<int>(s.backward),
                static_cast<int>(s.routing), s.zipf, s.ranks_per_node,
                static_cast<int>(s.peers_stream));
  return text;
}

std::optional<ExpertShape> decode_shape(const std::string& text) {
  ExpertShape s;
  int layout = 0;
  int quant = 0;
  int algo = 0;
  int reduce = 0;
  int backward = 0;
  int routing = 0;
  int peers_stream = 0;
  const int fields = std::sscanf(text.c_str(), "%d %d %d %d %d %d %d %d %d %d %lf %d %d", &s.tokens,
                                 &s.hidden, &s.topk, &s.experts, &layout, &quant, &algo, &reduce,
                                 &backward, &routing, &s.zipf, &s.ranks_per_node, &peers_stream);
  if (fields != 13 || s.tokens < 1 || s.hidden < 1 || s.topk < 1 || s.experts < s.topk ||
      layout < 0 || layout >= kNumExpertLayouts || quant < 0 || quant >= kNumExpertQuants ||
      algo < 0 || algo >= kNumExpertAlgos || reduce < 0 || reduce >= kNumExpertReduces ||
      routing < 0 || routing >= kNumRoutingKinds) {
    return std::nullopt;
  }
  s.layout = static_cast<ExpertLayout>(layout);
  s.quant = static_cast<ExpertQuant>(quant);
  s.algo = static_cast<ExpertAlgo>(algo);
  s.reduce = static_cast<ExpertReduce>(reduce);
  s.backward = backward != 0;
  s.peers_stream = peers_stream != 0;
  s.routing = static_cast<RoutingKind>(routing);
  return s;
}

}  // namespace perf
