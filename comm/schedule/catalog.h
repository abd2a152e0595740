// The list of (collective, algorithm): what exists, when it applies, what it costs in numbers'
// terms. An explicit array (catalog.cc); one file per family under algorithms/.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "comm/schedule/schedule.h"

namespace tutti {

// How often a value of a 16- or 8-bit float is rounded on its way (docs/numbers.md).
enum class Rounding : uint8_t {
  kNone,  // moves bytes only
  kOnce,  // one f32 fold over all ranks in rank order, one rounding
  kPerHop,
};

struct Algorithm {
  Collective collective;
  const char* name;  // as in TUTTI_ALGO, e.g. "ring"
  Rounding rounding;
  bool needs_all_counts;  // every rank must know every block: no gather_v, no scatter_v
  // Builds the plain schedule of params.rank. Pure.
  void (*build)(const Params& params, Schedule* out);
  const char* summary;  // one line: shape and cost, with its source
};

// All algorithms, collectives in enum order; the first of each collective is the default.
std::span<const Algorithm> catalog();
const Algorithm* find_algorithm(Collective collective, std::string_view name);
std::span<const Algorithm> algorithms_of(Collective collective);

const char* name_of(Collective collective);  // "all_reduce", ... static storage
std::optional<Collective> parse_collective(std::string_view name);
constexpr bool is_rooted(Collective collective) {
  return collective == Collective::kReduce || collective == Collective::kBroadcast ||
         collective == Collective::kGather || collective == Collective::kScatter;
}
constexpr bool is_reduction(Collective collective) {
  return collective == Collective::kAllReduce || collective == Collective::kReduce ||
         collective == Collective::kReduceScatter;
}

// The schedule that is executed: built, then fused, then offers added. Pure; reuses out's memory.
void make_schedule(const Algorithm& algorithm, const Params& params, Schedule* out);

}  // namespace tutti
