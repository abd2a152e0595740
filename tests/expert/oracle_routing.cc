// Who sends what where: replicas, masks, capacity.
#include <algorithm>

#include "tests/expert/oracle.h"

namespace tutti::oracle {
namespace {

// The copy of a logical expert that token t of rank src is sent to.
// Reading: masks are not looked at, so a choice on a masked rank is lost rather than moved. Without
// a rule (REPLICA_NONE) it is the lowest copy. NEAREST goes round over the copies on the own rank
// where there are any, else over those on the own node, else over all.
int32_t choose_replica(const Problem& p, int src, int64_t token, int64_t logical) {
  std::vector<int32_t> copies;
  for (int32_t e = 0; e < p.num_experts; ++e) {
    if (p.phys_to_log[e] == logical) copies.push_back(e);
  }
  require(!copies.empty(), "a logical expert has no physical one");
  if (p.replica == Replica::kNone) return copies[0];
  if (p.replica == Replica::kNearest) {
    std::vector<int32_t> own;
    std::vector<int32_t> near;
    for (int32_t e : copies) {
      if (p.owner_of(e) == src) own.push_back(e);
      if (p.node_of(p.owner_of(e)) == p.node_of(src)) near.push_back(e);
    }
    if (!near.empty()) copies = own.empty() ? near : own;
  }
  return copies[static_cast<size_t>(src + token) % copies.size()];
}

int32_t physical_of(const Problem& p, int src, int64_t token, int64_t id) {
  if (id < 0) return -1;
  const int32_t expert =
      p.num_logical > 0 ? choose_replica(p, src, token, id) : static_cast<int32_t>(id);
  return p.is_masked(p.owner_of(expert)) ? -1 : expert;
}

bool has_bad_input(const Problem& p, const RankInput& rank) {
  if (rank.tokens > p.max_tokens) return true;
  const bool by_weight =
      p.capacity_mode == CapacityMode::kExpertPerSource && p.keep == Keep::kWeight;
  // Reading: a missing weight is an argument error of the rank that gave none.
  if (by_weight && rank.weights.empty() && rank.tokens > 0) return true;
  const int64_t limit = p.num_logical > 0 ? p.num_logical : p.num_experts;
  for (int64_t id : rank.ids) {
    if (id >= limit) return true;
  }
  return false;
}

std::vector<tuttiResult_t> judge(const Problem& p) {
  std::vector<tuttiResult_t> verdict(p.ranks.size(), tuttiSuccess);
  bool any = false;
  for (int r = 0; r < p.nranks(); ++r) {
    if (p.is_masked(r) || !has_bad_input(p, p.ranks[r])) continue;
    verdict[r] = tuttiInvalidArgument;
    any = true;
  }
  for (int r = 0; any && r < p.nranks(); ++r) {
    if (!p.is_masked(r) && verdict[r] == tuttiSuccess) verdict[r] = tuttiRemoteError;
  }
  return verdict;
}

void check_shapes(const Problem& p) {
  require(p.nranks() > 0 && p.topk > 0 && p.num_experts > 0, "no ranks, slots or experts");
  require(p.expert_rank.empty() || p.expert_rank.size() == size_t(p.num_experts),
          "expert_rank is not [E]");
  require(p.num_logical == 0 || p.phys_to_log.size() == size_t(p.num_experts),
          "phys_to_log is not [E]");
  require(p.masked.empty() || p.masked.size() == p.ranks.size(), "masked is not [R]");
  for (const RankInput& rank : p.ranks) {
    const size_t slots = static_cast<size_t>(rank.tokens) * p.topk;
    require(rank.ids.size() == slots, "ids are not [T][K]");
    require(rank.weights.empty() || rank.weights.size() == slots, "weights are not [T][K]");
  }
}

// RANK: the first `capacity` (source, token) pairs that have anything for a rank; all that a later
// one has for it is dropped, what it has for other ranks stays.
// Reading: a row is a token at a rank, also in layouts that would write it several times.
void drop_by_rank(const Problem& p, Routing& routing) {
  for (int dst = 0; dst < p.nranks(); ++dst) {
    int64_t rows = 0;
    for (int src = 0; src < p.nranks(); ++src) {
      for (int64_t t = 0; t < p.ranks[src].tokens; ++t) {
        std::vector<int32_t*> here;
        for (int k = 0; k < p.topk; ++k) {
          int32_t& expert = routing.kept[src][t * p.topk + k];
          if (expert >= 0 && p.owner_of(expert) == dst) here.push_back(&expert);
        }
        if (here.empty() || rows++ < p.capacity) continue;
        for (int32_t* expert : here) *expert = -1;
      }
    }
  }
}

// Slots (t * K + k) of rank src that go to this expert, in order.
std::vector<int64_t> slots_of(const Routing& routing, int src, int32_t expert) {
  std::vector<int64_t> slots;
  for (size_t i = 0; i < routing.wanted[src].size(); ++i) {
    if (routing.wanted[src][i] == expert) slots.push_back(static_cast<int64_t>(i));
  }
  return slots;
}

void drop_after(const Problem& p, const std::vector<int64_t>& slots, int src, Routing& routing) {
  for (size_t i = 0; i < slots.size(); ++i) {
    if (static_cast<int64_t>(i) >= p.capacity) routing.kept[src][slots[i]] = -1;
  }
}

// EXPERT_PER_SOURCE: of each (source, physical expert) the first `capacity` assignments in (token,
// k), or those of the largest weights; equal weights: lower token, then lower k.
void drop_per_source(const Problem& p, Routing& routing) {
  for (int src = 0; src < p.nranks(); ++src) {
    for (int32_t e = 0; e < p.num_experts; ++e) {
      std::vector<int64_t> slots = slots_of(routing, src, e);
      if (p.keep == Keep::kWeight) {
        const std::vector<float>& weights = p.ranks[src].weights;
        std::stable_sort(slots.begin(), slots.end(),
                         [&](int64_t a, int64_t b) { return weights[a] > weights[b]; });
      }
      drop_after(p, slots, src, routing);
    }
  }
}

// EXPERT_GLOBAL: of each physical expert the first `capacity` assignments in (source, token, k).
void drop_globally(const Problem& p, Routing& routing) {
  for (int32_t e = 0; e < p.num_experts; ++e) {
    int64_t rows = 0;
    for (int src = 0; src < p.nranks(); ++src) {
      for (int64_t slot : slots_of(routing, src, e)) {
        if (rows++ >= p.capacity) routing.kept[src][slot] = -1;
      }
    }
  }
}

}  // namespace

int Problem::owner_of(int32_t expert) const {
  if (!expert_rank.empty()) return expert_rank[expert];
  const int block = (num_experts + nranks() - 1) / nranks();
  return expert / block;
}

std::vector<int32_t> Problem::experts_of(int rank) const {
  std::vector<int32_t> experts;
  for (int32_t e = 0; e < num_experts; ++e) {
    if (owner_of(e) == rank) experts.push_back(e);
  }
  return experts;
}

Routing route(const Problem& p) {
  check_shapes(p);
  Routing routing;
  routing.verdict = judge(p);
  const bool failed = std::any_of(routing.verdict.begin(), routing.verdict.end(),
                                  [](tuttiResult_t v) { return v != tuttiSuccess; });
  for (int src = 0; src < p.nranks(); ++src) {
    const RankInput& rank = p.ranks[src];
    std::vector<int32_t> wanted(rank.ids.size(), -1);
    for (size_t i = 0; i < rank.ids.size(); ++i) {
      if (failed || p.is_masked(src)) continue;
      wanted[i] = physical_of(p, src, static_cast<int64_t>(i) / p.topk, rank.ids[i]);
    }
    routing.wanted.push_back(wanted);
  }
  routing.kept = routing.wanted;
  if (p.capacity_mode == CapacityMode::kRank) drop_by_rank(p, routing);
  if (p.capacity_mode == CapacityMode::kExpertPerSource && !failed) drop_per_source(p, routing);
  if (p.capacity_mode == CapacityMode::kExpertGlobal) drop_globally(p, routing);
  for (int src = 0; src < p.nranks(); ++src) {
    std::vector<uint8_t> keep;
    int64_t dropped = 0;
    for (size_t i = 0; i < routing.kept[src].size(); ++i) {
      keep.push_back(routing.kept[src][i] >= 0 ? 1 : 0);
      if (routing.kept[src][i] != routing.wanted[src][i]) ++dropped;
    }
    routing.keep.push_back(keep);
    routing.dropped.push_back(dropped);
  }
  return routing;
}

}  // namespace tutti::oracle
