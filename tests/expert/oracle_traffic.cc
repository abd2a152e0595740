// The rows that have to travel, counted on the actual routing.
#include <algorithm>
#include <set>

#include "tests/expert/oracle.h"

namespace tutti::oracle {
namespace {

int tier_of(const Problem& p, int from, int to) {
  if (from == to) return 0;
  return p.node_of(from) == p.node_of(to) ? 1 : 2;
}

struct Counter {
  const Problem& p;
  int64_t row_bytes;
  std::vector<Traffic> ranks;

  void send(int from, int to) {
    const int tier = tier_of(p, from, to);
    ++ranks[from].rows[tier];
    ranks[from].bytes[tier] += row_bytes;
  }
};

// Ranks that hold an expert of the token.
std::set<int> ranks_of(const Problem& p, const Routing& routing, int src, int64_t token) {
  std::set<int> ranks;
  for (int k = 0; k < p.topk; ++k) {
    const int32_t expert = routing.kept[src][token * p.topk + k];
    if (expert >= 0) ranks.insert(p.owner_of(expert));
  }
  return ranks;
}

// The rank of `ranks` through which rows enter or leave a node: the lowest there.
int door_of(const Problem& p, const std::set<int>& ranks, int node) {
  return *std::find_if(ranks.begin(), ranks.end(), [&](int r) { return p.node_of(r) == node; });
}

}  // namespace

Algorithm auto_algorithm(const Problem& p) {
  return p.nodes() == 1 ? Algorithm::kDirect : Algorithm::kHier;
}

Reduce auto_reduce(const Problem& p) { return p.nodes() == 1 ? Reduce::kRank : Reduce::kNode; }

std::vector<Traffic> dispatch_traffic(const Problem& p, const Routing& routing, Algorithm algorithm,
                                      int64_t row_bytes) {
  Counter counter{p, row_bytes, std::vector<Traffic>(p.nranks())};
  for (int src = 0; src < p.nranks(); ++src) {
    for (int64_t t = 0; t < p.ranks[src].tokens; ++t) {
      const std::set<int> ranks = ranks_of(p, routing, src, t);
      for (int dst : ranks) {
        const bool direct = algorithm == Algorithm::kDirect || p.node_of(dst) == p.node_of(src);
        const int door = door_of(p, ranks, p.node_of(dst));
        counter.send(direct || dst == door ? src : door, dst);
      }
    }
  }
  return counter.ranks;
}

std::vector<Traffic> combine_traffic(const Problem& p, const Routing& routing, Reduce reduce,
                                     int64_t row_bytes) {
  Counter counter{p, row_bytes, std::vector<Traffic>(p.nranks())};
  for (int src = 0; src < p.nranks(); ++src) {
    for (int64_t t = 0; t < p.ranks[src].tokens; ++t) {
      const std::set<int> ranks = ranks_of(p, routing, src, t);
      if (reduce == Reduce::kSlot && p.has_expert_rows()) {
        for (int k = 0; k < p.topk; ++k) {
          const int32_t expert = routing.kept[src][t * p.topk + k];
          if (expert >= 0) counter.send(p.owner_of(expert), src);
        }
        continue;
      }
      for (int from : ranks) {
        const bool direct = reduce != Reduce::kNode || p.node_of(from) == p.node_of(src);
        const int door = door_of(p, ranks, p.node_of(from));
        counter.send(from, direct || from == door ? src : door);
      }
    }
  }
  return counter.ranks;
}

Traffic total(const std::vector<Traffic>& ranks) {
  Traffic sum;
  for (const Traffic& rank : ranks) {
    for (int tier = 0; tier < 3; ++tier) {
      sum.rows[tier] += rank.rows[tier];
      sum.bytes[tier] += rank.bytes[tier];
    }
  }
  return sum;
}

}  // namespace tutti::oracle
