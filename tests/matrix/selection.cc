#include "tests/matrix/selection.h"

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <tuple>
#include <utility>

#include "tests/support/test_data.h"

namespace tutti {

namespace {

// A call with one of its algorithms.
struct Kind {
  Call call;
  const Algorithm* algorithm;
};

std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds;
  for (int i = 0; i < kNumCalls; ++i) {
    const auto call = static_cast<Call>(i);
    const std::optional<Collective> collective = info(call).collective;
    if (!collective.has_value()) {
      kinds.push_back({call, nullptr});
      continue;
    }
    for (const Algorithm& algorithm : algorithms_of(*collective)) {
      const bool one_side_knows = call == Call::kGatherV || call == Call::kScatterV;
      if (!one_side_knows || !algorithm.needs_all_counts) kinds.push_back({call, &algorithm});
    }
  }
  return kinds;
}

// First, second, middle, last: positions where trees and rings differ.
int root_of(int position, int nranks) {
  const int roots[] = {0, 1, nranks / 2, nranks - 1};
  return roots[position];
}
constexpr int kNumRoots = 4;

// All variants of the case that may share one reference. Calls whose counts must be symmetric to be
// called in place make two groups.
std::vector<Group> all_variants(const Case& common) {
  std::vector<Group> groups;
  for (int p = 0; p < kNumPlacements; ++p) {
    for (int m = 0; m < kNumMemories; ++m) {
      Case c = common;
      c.place = static_cast<Placement>(p);
      c.memory = static_cast<Memory>(m);
      if (!is_possible(c)) continue;
      const bool apart = info(c.call).matrix && p == 1 && m == 0;
      if (groups.empty() || apart) groups.push_back({c, {}});
      groups.back().variants.push_back({c.place, c.memory});
    }
  }
  return groups;
}

void append(std::vector<Group>* all, std::vector<Group> more) {
  for (Group& group : more) all->push_back(std::move(group));
}

void sort_by_communicator(std::vector<Group>* groups, uint64_t seed) {
  const auto key = [seed](const Group& g) {
    return std::tuple(g.common.nranks, slot_of(g.common), is_capped(g.common),
                      hash_text(name_of(g), seed));
  };
  using Key = decltype(key(groups->front()));
  std::vector<std::pair<Key, size_t>> order;
  for (size_t i = 0; i < groups->size(); ++i) order.emplace_back(key((*groups)[i]), i);
  std::sort(order.begin(), order.end());
  std::vector<Group> sorted;
  sorted.reserve(groups->size());
  for (const auto& [unused, i] : order) sorted.push_back(std::move((*groups)[i]));
  *groups = std::move(sorted);
}

// Groups of one kind, number of ranks and count.
void append_cells(std::vector<Group>* all, Case c, uint64_t seed) {
  for (int root = 0; root < kNumRoots; ++root) {
    c.root = is_rooted(c.call) ? root_of(root, c.nranks) : 0;
    if (root > 0 && !is_rooted(c.call)) return;
    if (root > 0 && c.root == root_of(root - 1, c.nranks)) continue;
    for (int t = 0; t < kNumDataTypes; ++t) {
      for (int o = 0; o < kNumReduceOps; ++o) {
        c.dtype = static_cast<DataType>(t);
        c.op = static_cast<ReduceOp>(o);
        // Large counts take one root each, another for each cell.
        if (c.count == Count::kLarge && is_rooted(c.call)) {
          if (root > 0) continue;
          c.root = root_of(
              static_cast<int>(mix_bits(seed + static_cast<uint64_t>(t * 16 + o)) % kNumRoots),
              c.nranks);
        }
        append(all, all_variants(c));
      }
    }
  }
}

}  // namespace

std::vector<Group> whole_matrix(const SelectionOptions& options) {
  std::vector<Group> all;
  for (const Kind& kind : all_kinds()) {
    for (int nranks : kRankCounts) {
      for (int count = 0; count < kNumCounts; ++count) {
        Case c;
        c.call = kind.call;
        c.algorithm = kind.algorithm;
        c.nranks = nranks;
        c.count = static_cast<Count>(count);
        if (c.count == Count::kLarge && !options.large) continue;
        append_cells(&all, c, options.seed);
      }
    }
  }
  sort_by_communicator(&all, options.seed);
  return all;
}

Group group_of(const Case& c) { return {c, {{c.place, c.memory}}}; }

namespace {

// The parameters of a case as small numbers, so that pairs of them can be counted.
enum Parameter { kKindOf, kDtype, kOp, kRanks, kCount, kPlace, kMemory, kRoot, kNumParameters };
using Values = std::array<int, kNumParameters>;
using Pair = std::array<int, 4>;  // parameter, value, parameter, value

class Sampler {
 public:
  explicit Sampler(const SelectionOptions& options)
      : options_(options), kinds_(all_kinds()), random_(options.seed) {
    sizes_ = {static_cast<int>(kinds_.size()),
              kNumDataTypes,
              kNumReduceOps,
              static_cast<int>(std::size(kRankCounts)),
              kNumCounts,
              kNumPlacements,
              kNumMemories,
              kNumRoots};
  }

  std::vector<Group> sample() {
    std::vector<Pair> wanted = all_pairs();
    std::shuffle(wanted.begin(), wanted.end(), random_);
    uncovered_.insert(wanted.begin(), wanted.end());
    std::vector<Group> groups;
    for (const Pair& pair : wanted) {
      if (uncovered_.count(pair) == 0) continue;
      Values best{};
      if (!best_with(pair, &best)) continue;  // the two do not go together
      cover(best);
      const Case c = case_of(best);
      if (c.count == Count::kLarge) {
        groups.push_back(group_of(c));
      } else {
        append(&groups, all_variants(c));
      }
    }
    return groups;
  }

 private:
  std::vector<Pair> all_pairs() const {
    std::vector<Pair> pairs;
    for (int p = 0; p < kNumParameters; ++p) {
      for (int q = p + 1; q < kNumParameters; ++q) {
        for (int a = 0; a < sizes_[static_cast<size_t>(p)]; ++a) {
          for (int b = 0; b < sizes_[static_cast<size_t>(q)]; ++b) pairs.push_back({p, a, q, b});
        }
      }
    }
    return pairs;
  }

  Case case_of(const Values& v) const {
    Case c;
    c.call = kinds_[static_cast<size_t>(v[kKindOf])].call;
    c.algorithm = kinds_[static_cast<size_t>(v[kKindOf])].algorithm;
    c.dtype = static_cast<DataType>(v[kDtype]);
    c.op = static_cast<ReduceOp>(v[kOp]);
    c.nranks = kRankCounts[v[kRanks]];
    c.count = static_cast<Count>(v[kCount]);
    c.place = static_cast<Placement>(v[kPlace]);
    c.memory = static_cast<Memory>(v[kMemory]);
    c.root = root_of(v[kRoot], c.nranks);
    return c;
  }

  bool is_allowed(const Values& v) const {
    const Case c = case_of(v);
    return is_possible(c) && (options_.large || c.count != Count::kLarge);
  }

  // A random allowed case with these two values; false when there is none.
  bool complete(const Pair& pair, Values* values) {
    for (int attempt = 0; attempt < 2000; ++attempt) {
      for (size_t p = 0; p < kNumParameters; ++p) {
        (*values)[p] = static_cast<int>(random_() % static_cast<uint64_t>(sizes_[p]));
      }
      (*values)[static_cast<size_t>(pair[0])] = pair[1];
      (*values)[static_cast<size_t>(pair[2])] = pair[3];
      const Call call = kinds_[static_cast<size_t>((*values)[kKindOf])].call;
      // Values that do not apply to the call take their only form, unless the pair asks for others.
      const auto set_free = [&](int p, int value) {
        if (pair[0] != p && pair[2] != p) (*values)[static_cast<size_t>(p)] = value;
      };
      if (!is_reduction(call)) set_free(kOp, 0);
      if (!is_rooted(call)) set_free(kRoot, 0);
      if (!info(call).in_place) set_free(kPlace, 0);
      if (call == Call::kBarrier) {
        set_free(kDtype, static_cast<int>(DataType::kUint8));
        set_free(kCount, 0);
        set_free(kMemory, static_cast<int>(Memory::kPlain));
      }
      if (is_allowed(*values)) return true;
    }
    return false;
  }

  template <typename Visit>
  static void each_pair(const Values& v, Visit visit) {
    for (int p = 0; p < kNumParameters; ++p) {
      for (int q = p + 1; q < kNumParameters; ++q) {
        visit(Pair{p, v[static_cast<size_t>(p)], q, v[static_cast<size_t>(q)]});
      }
    }
  }

  bool best_with(const Pair& pair, Values* best) {
    constexpr int kCandidates = 24;
    constexpr int kLargePenalty = 4;  // a large case costs as much as many others
    int best_score = INT32_MIN;
    for (int i = 0; i < kCandidates; ++i) {
      Values values{};
      if (!complete(pair, &values)) return false;
      int score = 0;
      each_pair(values, [&](const Pair& p) { score += uncovered_.count(p) > 0 ? 1 : 0; });
      if (values[kCount] == static_cast<int>(Count::kLarge)) score -= kLargePenalty;
      if (score <= best_score) continue;
      best_score = score;
      *best = values;
    }
    return true;
  }

  void cover(const Values& v) {
    each_pair(v, [&](const Pair& p) { uncovered_.erase(p); });
  }

  const SelectionOptions options_;
  const std::vector<Kind> kinds_;
  std::mt19937_64 random_;
  std::array<int, kNumParameters> sizes_{};
  std::set<Pair> uncovered_;
};

// Each call with each algorithm, type and operator, somewhere.
void append_every_cell(std::vector<Group>* groups, uint64_t seed) {
  std::mt19937_64 random(seed);
  constexpr Count kCheap[] = {Count::kNone,  Count::kOne,       Count::kSmall,
                              Count::kSmall, Count::kTwoRounds, Count::kThreeRounds};
  for (const Kind& kind : all_kinds()) {
    for (int cell = 0; cell < kNumDataTypes * kNumReduceOps; ++cell) {
      Case c;
      c.call = kind.call;
      c.algorithm = kind.algorithm;
      c.dtype = static_cast<DataType>(cell / kNumReduceOps);
      c.op = static_cast<ReduceOp>(cell % kNumReduceOps);
      c.nranks = kRankCounts[random() % std::size(kRankCounts)];
      c.count = kCheap[random() % std::size(kCheap)];
      if (c.call == Call::kBarrier) c.count = Count::kNone;
      if (is_rooted(c.call)) c.root = static_cast<int>(random() % static_cast<uint64_t>(c.nranks));
      append(groups, all_variants(c));
    }
  }
}

}  // namespace

std::vector<Group> pairwise_sample(const SelectionOptions& options) {
  std::vector<Group> groups = Sampler(options).sample();
  append_every_cell(&groups, mix_bits(options.seed));
  sort_by_communicator(&groups, options.seed);
  return groups;
}

}  // namespace tutti
