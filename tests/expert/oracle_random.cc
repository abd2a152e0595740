// Random problems: every axis of the contract, the odd values more often than chance would have
// them.
#include <algorithm>
#include <cmath>

#include "tests/expert/oracle.h"

namespace tutti::oracle {
namespace {

template <typename T>
void shuffle(Random& random, std::vector<T>& values) {
  for (size_t i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[random.below(static_cast<int64_t>(i))]);
  }
}

int between(Random& random, int low, int high) {
  return static_cast<int>(random.between(low, std::max(low, high)));
}

void choose_sizes(Random& random, const Limits& limits, Problem& p) {
  p.ranks.resize(between(random, 1, limits.max_ranks));
  p.topk = between(random, 1, random.one_in(4) ? limits.max_topk : std::min(8, limits.max_topk));
  p.num_experts = between(
      random, 1, random.one_in(4) ? std::min(p.nranks(), limits.max_experts) : limits.max_experts);
  p.max_tokens = random.one_in(16) ? 0 : random.between(1, std::max<int64_t>(1, limits.max_tokens));
  for (RankInput& rank : p.ranks) {
    rank.tokens = random.one_in(6) ? 0 : random.between(0, p.max_tokens);
    if (random.one_in(3)) rank.tokens = p.max_tokens;
  }
  if (random.one_in(2)) p.ranks_per_node = between(random, 1, p.nranks());
}

// Blocks, any map, or a map that leaves ranks without experts.
void choose_placement(Random& random, Problem& p) {
  const int64_t kind = random.below(3);
  if (kind == 0) return;
  std::vector<int32_t> owners;
  for (int r = 0; r < p.nranks(); ++r) owners.push_back(r);
  shuffle(random, owners);
  if (kind == 2) owners.resize(between(random, 1, p.nranks()));
  for (int e = 0; e < p.num_experts; ++e) {
    p.expert_rank.push_back(owners[random.below(static_cast<int64_t>(owners.size()))]);
  }
}

// Every logical expert has one copy at least, the rest is left to chance.
void choose_copies(Random& random, Problem& p) {
  p.num_logical = between(random, 1, p.num_experts);
  for (int e = 0; e < p.num_experts; ++e) {
    p.phys_to_log.push_back(e < p.num_logical ? e : between(random, 0, p.num_logical - 1));
  }
  shuffle(random, p.phys_to_log);
  p.replica = static_cast<Replica>(random.below(3));
}

void choose_masks(Random& random, Problem& p) {
  for (int r = 0; r < p.nranks(); ++r) p.masked.push_back(random.one_in(4) ? 1 : 0);
  p.masked[random.below(p.nranks())] = 0;
}

void choose_layout(Random& random, const Limits& limits, Problem& p) {
  p.layout = static_cast<Layout>(random.below(4));
  if (random.one_in(2)) p.alignment = 1 << random.below(6);
  if (limits.capacity && random.one_in(2)) {
    p.capacity_mode = static_cast<CapacityMode>(random.between(1, 3));
    const int64_t most = p.nranks() * p.max_tokens * p.topk;
    p.capacity = random.one_in(8) ? most : random.between(0, std::min<int64_t>(most, 12));
    p.keep = static_cast<Keep>(random.below(2));
  }
  if (limits.capacity) p.pad_to_capacity = random.one_in(2);
  // A slab with room for every duplicate cannot overflow.
  if (!random.one_in(4)) p.slab_rows = p.nranks() * p.max_tokens * p.topk;
}

// How the ids of one problem are drawn.
struct Router {
  int64_t ids = 1;         // how many there are
  double skew = 0;         // exponent of the zipf law, 0: uniform
  bool distinct = true;    // within a row, while there are enough
  int64_t hot = -1;        // all tokens to this one
  double masked_part = 0;  // of the ids
  std::vector<double> cumulative;

  int64_t draw(Random& random) const {
    if (hot >= 0) return hot;
    const double at = random.uniform() * cumulative.back();
    return std::min<int64_t>(
        ids - 1, std::upper_bound(cumulative.begin(), cumulative.end(), at) - cumulative.begin());
  }
};

Router choose_router(Random& random, const Problem& p) {
  Router router;
  router.ids = p.num_logical > 0 ? p.num_logical : p.num_experts;
  if (random.one_in(3)) router.skew = 0.5 + random.uniform();
  router.distinct = !random.one_in(4) && p.topk <= router.ids / 2;
  if (random.one_in(10)) {
    router.hot = random.below(router.ids);
    router.distinct = false;
  }
  constexpr double kParts[] = {0, 0, 0.1, 0.5};
  router.masked_part = random.one_in(20) ? 1 : kParts[random.below(4)];
  double sum = 0;
  for (int64_t i = 0; i < router.ids; ++i) {
    sum += std::pow(static_cast<double>(i + 1), -router.skew);
    router.cumulative.push_back(sum);
  }
  return router;
}

int64_t draw_id(Random& random, const Router& router, const std::vector<int64_t>& row) {
  if (random.uniform() < router.masked_part) return random.one_in(4) ? INT64_MIN : -1;
  // A skewed law may need many draws for a new id: then a duplicate it is.
  for (int tries = 0; tries < 100; ++tries) {
    const int64_t id = router.draw(random);
    if (!router.distinct || std::find(row.begin(), row.end(), id) == row.end()) return id;
  }
  return router.draw(random);
}

// Coarse weights tie often.
float draw_weight(Random& random, bool coarse) {
  if (random.one_in(16)) return 0.0f;
  if (coarse) return static_cast<float>(random.between(0, 8)) / 8;
  return static_cast<float>(random.uniform());
}

void route_tokens(Random& random, Problem& p) {
  const Router router = choose_router(random, p);
  const bool coarse = random.one_in(2);
  for (RankInput& rank : p.ranks) {
    for (int64_t t = 0; t < rank.tokens; ++t) {
      std::vector<int64_t> row;
      for (int k = 0; k < p.topk; ++k) {
        row.push_back(draw_id(random, router, row));
        rank.weights.push_back(draw_weight(random, coarse));
      }
      rank.ids.insert(rank.ids.end(), row.begin(), row.end());
    }
  }
}

}  // namespace

Problem random_problem(uint64_t seed, const Limits& limits) {
  Random random{seed};
  random.next();
  Problem p;
  choose_sizes(random, limits, p);
  choose_placement(random, p);
  if (limits.logical && random.one_in(3)) choose_copies(random, p);
  if (limits.masks && random.one_in(4)) choose_masks(random, p);
  choose_layout(random, limits, p);
  route_tokens(random, p);
  return p;
}

}  // namespace tutti::oracle
