#include "comm/schedule/catalog.h"

#include <array>

#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/fuse.h"

namespace tutti {

namespace {

constexpr Rounding kMoves = Rounding::kNone;
constexpr Rounding kOnce = Rounding::kOnce;
constexpr Rounding kPerHop = Rounding::kPerHop;

// Grouped by collective in enum order (algorithms_of relies on it); the first of a group is the
// default. The fourth column: whether every rank must know the size of every block.
constexpr std::array kCatalog = {
    Algorithm{Collective::kAllReduce, "two_shot", kOnce, false, all_reduce_two_shot,
              "each rank folds one chunk of all inputs and sends it to all"},
    Algorithm{Collective::kAllReduce, "one_shot", kOnce, false, all_reduce_one_shot,
              "each rank folds all inputs itself: one message latency"},
    Algorithm{Collective::kAllReduce, "ring", kPerHop, false, all_reduce_ring,
              "chunks travel round a ring twice (Patarasuk and Yuan 2009)"},
    Algorithm{Collective::kAllReduce, "halving_doubling", kPerHop, false,
              all_reduce_halving_doubling, "recursive halving, then doubling (Rabenseifner 2004)"},
    Algorithm{Collective::kAllReduce, "central", kOnce, false, all_reduce_central,
              "rank 0 folds all inputs and sends the result to all"},
    Algorithm{Collective::kReduce, "direct", kOnce, false, reduce_direct,
              "the root folds all inputs"},
    Algorithm{Collective::kReduce, "binomial", kPerHop, false, reduce_binomial,
              "partial sums climb a binomial tree"},
    Algorithm{Collective::kBroadcast, "direct", kMoves, false, broadcast_direct,
              "everybody pulls from the root"},
    Algorithm{Collective::kBroadcast, "binomial", kMoves, false, broadcast_binomial,
              "binomial tree"},
    Algorithm{Collective::kBroadcast, "scatter_all_gather", kMoves, false,
              broadcast_scatter_all_gather,
              "binomial scatter, then a ring of the chunks (van de Geijn 1994)"},
    Algorithm{Collective::kBroadcast, "chain", kMoves, false, broadcast_chain,
              "pieces follow one another along a line of ranks"},
    Algorithm{Collective::kAllGather, "direct", kMoves, false, all_gather_direct,
              "everybody takes every block from its owner"},
    Algorithm{Collective::kAllGather, "ring", kMoves, false, all_gather_ring,
              "blocks travel round a ring"},
    Algorithm{Collective::kReduceScatter, "direct", kOnce, false, reduce_scatter_direct,
              "each rank folds its block of all inputs"},
    Algorithm{Collective::kReduceScatter, "ring", kPerHop, false, reduce_scatter_ring,
              "partial sums travel round a ring"},
    Algorithm{Collective::kReduceScatter, "halving", kPerHop, false, reduce_scatter_halving,
              "recursive halving of the blocks"},
    Algorithm{Collective::kGather, "direct", kMoves, false, gather_direct,
              "everybody sends to the root"},
    Algorithm{Collective::kGather, "binomial", kMoves, true, gather_binomial,
              "blocks climb a binomial tree"},
    Algorithm{Collective::kScatter, "direct", kMoves, false, scatter_direct,
              "the root sends to everybody"},
    Algorithm{Collective::kScatter, "binomial", kMoves, true, scatter_binomial,
              "blocks descend a binomial tree"},
    Algorithm{Collective::kAllToAll, "direct", kMoves, false, all_to_all_direct,
              "all blocks lent at once"},
    Algorithm{Collective::kAllToAll, "pairwise", kMoves, false, all_to_all_pairwise,
              "one partner at a time"},
    Algorithm{Collective::kBarrier, "dissemination", kMoves, false, barrier_dissemination,
              "ceil(log2 n) rounds of empty messages (Hensgen, Finkel, Manber 1988)"},
    Algorithm{Collective::kBarrier, "central", kMoves, false, barrier_central,
              "everybody tells rank 0, which tells everybody"},
};

constexpr std::array<const char*, kNumCollectives> kCollectiveNames = {
    "all_reduce", "reduce",  "broadcast",  "all_gather", "reduce_scatter",
    "gather",     "scatter", "all_to_all", "barrier"};

}  // namespace

std::span<const Algorithm> catalog() { return kCatalog; }

std::span<const Algorithm> algorithms_of(Collective collective) {
  size_t first = 0;
  while (first < kCatalog.size() && kCatalog[first].collective != collective) ++first;
  size_t last = first;
  while (last < kCatalog.size() && kCatalog[last].collective == collective) ++last;
  return std::span(kCatalog).subspan(first, last - first);
}

const Algorithm* find_algorithm(Collective collective, std::string_view name) {
  for (const Algorithm& a : algorithms_of(collective)) {
    if (name == a.name) return &a;
  }
  return nullptr;
}

const char* name_of(Collective collective) {
  return kCollectiveNames[static_cast<size_t>(collective)];
}

std::optional<Collective> parse_collective(std::string_view name) {
  for (size_t i = 0; i < kCollectiveNames.size(); ++i) {
    if (name == kCollectiveNames[i]) return static_cast<Collective>(i);
  }
  return std::nullopt;
}

void make_schedule(const Algorithm& algorithm, const Params& params, Schedule* out) {
  algorithm.build(params, out);
  fuse(out);
  add_offers(out);
}

}  // namespace tutti
