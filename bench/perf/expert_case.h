// What a case of dispatch or combine says beside what every case does: the shape of the tokens, how
// they are routed, the layout of rows at their experts (docs/expert.md). Value types; plain
// functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace perf {

// Values equal tuttiEpLayout_t.
enum class ExpertLayout : uint8_t { kFlat, kExpertMajor, kExpertSlab, kRankMajor };
inline constexpr int kNumExpertLayouts = 4;
enum class ExpertQuant : uint8_t { kNone, kForward, kFp8Block128, kInt8Token };
inline constexpr int kNumExpertQuants = 4;
// Values equal tuttiEpAlgo_t.
enum class ExpertAlgo : uint8_t { kAuto, kDirect, kHier, kAllGather };
inline constexpr int kNumExpertAlgos = 4;
// How Combine adds up: by k; a sum of each rank first; those of a node's ranks, too. In the order
// of tuttiEpReduce_t, which has AUTO before them.
enum class ExpertReduce : uint8_t { kSlot, kRank, kNode };
inline constexpr int kNumExpertReduces = 3;
// Which experts tokens choose: all alike; expert of popularity i in proportion to i^-zipf; or all
// tokens the same ones, 0 to K-1.
enum class RoutingKind : uint8_t { kUniform, kZipf, kOne };
inline constexpr int kNumRoutingKinds = 3;

struct ExpertShape {
  int tokens = 4096;  // of each rank
  int hidden = 7168;
  int topk = 8;
  int experts = 64;
  ExpertLayout layout = ExpertLayout::kFlat;
  ExpertQuant quant = ExpertQuant::kNone;
  ExpertAlgo algo = ExpertAlgo::kAuto;
  ExpertReduce reduce = ExpertReduce::kRank;
  bool backward = false;  // Dispatch by expert multiplies each row by its weight
  RoutingKind routing = RoutingKind::kUniform;
  double zipf = 1;
  int ranks_per_node = 0;    // 0: as they lie on hosts
  bool peers_stream = true;  // peers write large results past the caches
};

const char* name_of(ExpertLayout layout);            // "flat", ...
const char* name_of(ExpertQuant quant);              // "none", "fp8e4m3_b128", ...
const char* name_of(ExpertAlgo algo);                // "auto", "direct", ...
const char* name_of(ExpertReduce reduce);            // "slot", ...
std::string routing_name(const ExpertShape& shape);  // "uniform", "zipf:1", "one"
std::optional<ExpertLayout> parse_layout(std::string_view name);
std::optional<ExpertQuant> parse_quant(std::string_view name);
std::optional<ExpertAlgo> parse_expert_algo(std::string_view name);
std::optional<ExpertReduce> parse_reduce(std::string_view name);
bool parse_routing(const std::string& name, ExpertShape* shape);

// Whether rows are grouped by expert, one for each assignment; else one for each token.
bool is_by_expert(ExpertLayout layout);

int node_of(const ExpertShape& shape, int rank);

// Bytes that go to other ranks of the same node, and to those of other nodes.
struct Tiers {
  uint64_t near = 0;
  uint64_t far = 0;
  uint64_t total() const { return near + far; }
  void add(bool is_near, uint64_t bytes) { (is_near ? near : far) += bytes; }
};

// Bytes of a row as Dispatch delivers it, and of its scales; before it 2 for each element, but
// kForward.
size_t delivered_bytes(const ExpertShape& shape);
size_t scale_bytes(const ExpertShape& shape);

// Numbers separated by blanks, and back; nothing: they are not a shape.
std::string encode_shape(const ExpertShape& shape);
std::optional<ExpertShape> decode_shape(const std::string& text);

}  // namespace perf
