// The sums of a combine: in f32 exactly as documented, and in f64 to bound them.
#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "tests/expert/oracle.h"

namespace tutti::oracle {
namespace {

// The row that holds each assignment at the rank of its expert, -1 where nothing is kept:
// [R][T][K].
std::vector<std::vector<int64_t>> find_rows(const Problem& p, const Prepared& prepared) {
  std::vector<std::vector<int64_t>> at(p.nranks());
  for (int src = 0; src < p.nranks(); ++src) at[src].assign(prepared.routing.kept[src].size(), -1);
  for (const RankLayout& layout : prepared.layouts) {
    for (int64_t n = 0; n < layout.rows; ++n) {
      const Row& row = layout.row[n];
      if (row.fill != Fill::kToken) continue;
      for (int k = 0; k < p.topk; ++k) {
        const bool here = p.has_expert_rows() ? row.k == k : layout.row_slot[n * p.topk + k] >= 0;
        if (here) at[row.src][row.token * p.topk + k] = n;
      }
    }
  }
  return at;
}

// One number that goes into the sum of a token.
struct Term {
  int k;  // the smallest that it serves
  int rank;
  float weight;  // 1 without weights
  int64_t row;
};

struct Combination {
  const Problem& p;
  const CombineCase& c;
  std::vector<std::vector<int64_t>> at;  // find_rows()
  std::vector<std::vector<float>> rows;  // [R][N][hidden]
  std::array<std::vector<std::vector<float>>, 2> bias;
  const Routing& routing;
};

Combination open(const Problem& p, const Prepared& prepared, const CombineCase& c) {
  require(!c.apply || p.has_expert_rows(), "weights are applied to rows of one assignment each");
  require(c.rows.size() == p.ranks.size(), "rows are not [R]");
  Combination s{p, c, find_rows(p, prepared), {}, {}, prepared.routing};
  for (int r = 0; r < p.nranks(); ++r) {
    s.rows.push_back(unpack(c.row_type, c.rows[r]));
    require(s.rows[r].size() >= static_cast<size_t>(prepared.layouts[r].rows * c.hidden),
            "rows are not [N][hidden]");
  }
  for (int b = 0; b < 2; ++b) {
    require(c.bias[b].empty() || c.bias[b].size() == p.ranks.size(), "bias is not [R]");
    for (const auto& bias : c.bias[b]) s.bias[b].push_back(unpack(c.out_type, bias));
  }
  return s;
}

// The terms of one token, ascending in k.
std::vector<Term> terms_of(const Combination& s, int src, int64_t token) {
  std::vector<Term> terms;
  for (int k = 0; k < s.p.topk; ++k) {
    const int64_t slot = token * s.p.topk + k;
    const int32_t expert = s.routing.kept[src][slot];
    if (expert < 0) continue;
    const int rank = s.p.owner_of(expert);
    const int64_t row = s.at[src][slot];
    require(row >= 0, "a kept assignment has no row: the layout overflowed");
    const bool seen = std::any_of(terms.begin(), terms.end(),
                                  [&](const Term& t) { return t.rank == rank && t.row == row; });
    if (seen) continue;
    terms.push_back({k, rank, s.c.apply ? s.p.ranks[src].weights[slot] : 1.0f, row});
  }
  return terms;
}

float value_of(const Combination& s, const Term& term, int64_t h) {
  const float x = s.rows[term.rank][term.row * s.c.hidden + h];
  return s.c.apply ? term.weight * x : x;
}

float start_of(const Combination& s, int src, int64_t i) {
  if (s.bias[0].empty() && s.bias[1].empty()) return 0.0f;
  if (s.bias[1].empty()) return s.bias[0][src][i];
  if (s.bias[0].empty()) return s.bias[1][src][i];
  return s.bias[0][src][i] + s.bias[1][src][i];
}

float sum_slots(const Combination& s, const std::vector<Term>& terms, float start, int64_t h) {
  float acc = start;
  for (const Term& term : terms) acc = acc + value_of(s, term, h);
  return acc;
}

// What a rank has of the token, rounded to the partial type; nothing if it has none of it.
std::optional<float> partial_of_rank(const Combination& s, const std::vector<Term>& terms, int rank,
                                     int64_t h) {
  float acc = 0.0f;
  bool any = false;
  for (const Term& term : terms) {
    if (term.rank != rank) continue;
    acc = acc + value_of(s, term, h);
    any = true;
  }
  if (!any) return std::nullopt;
  return round_to(s.c.partial, acc);
}

std::optional<float> partial_of_node(const Combination& s, const std::vector<Term>& terms, int node,
                                     int64_t h) {
  float acc = 0.0f;
  bool any = false;
  for (int rank = 0; rank < s.p.nranks(); ++rank) {
    if (s.p.node_of(rank) != node) continue;
    const std::optional<float> partial = partial_of_rank(s, terms, rank, h);
    if (!partial) continue;
    acc = acc + *partial;
    any = true;
  }
  if (!any) return std::nullopt;
  return round_to(s.c.partial, acc);
}

float sum_partials(const Combination& s, const std::vector<Term>& terms, float start, int64_t h) {
  const bool by_node = s.c.reduce == Reduce::kNode;
  const int parts = by_node ? s.p.nodes() : s.p.nranks();
  float acc = start;
  for (int part = 0; part < parts; ++part) {
    const std::optional<float> partial =
        by_node ? partial_of_node(s, terms, part, h) : partial_of_rank(s, terms, part, h);
    if (partial) acc = acc + *partial;
  }
  return acc;
}

// Calls `f` with (source, element of its output, hidden index, terms) for every output element.
using ElementFn = std::function<void(int, int64_t, int64_t, const std::vector<Term>&)>;
void for_each_element(const Combination& s, const ElementFn& f) {
  for (int src = 0; src < s.p.nranks(); ++src) {
    for (int64_t t = 0; t < s.p.ranks[src].tokens; ++t) {
      const std::vector<Term> terms = terms_of(s, src, t);
      for (int64_t h = 0; h < s.c.hidden; ++h) f(src, t * s.c.hidden + h, h, terms);
    }
  }
}

std::vector<std::vector<uint8_t>> empty_outputs(const Combination& s) {
  std::vector<std::vector<uint8_t>> out;
  for (const RankInput& rank : s.p.ranks) {
    out.emplace_back(static_cast<size_t>(rank.tokens * s.c.hidden) * bytes_of(s.c.out_type));
  }
  return out;
}

// How many values are rounded to a partial on the way to one sum.
int partials_of(const Combination& s, const std::vector<Term>& terms) {
  if (s.c.reduce == Reduce::kSlot) return 0;
  return static_cast<int>(terms.size()) * (s.c.reduce == Reduce::kNode ? 2 : 1);
}

double half_subnormal(tuttiDataType_t dtype) {
  if (dtype == tuttiFloat16) return 0x1p-25;
  return dtype == tuttiBfloat16 ? 0x1p-134 : 0x1p-150;
}

}  // namespace

std::vector<std::vector<uint8_t>> combine(const Problem& p, const Prepared& prepared,
                                          const CombineCase& c) {
  const Combination s = open(p, prepared, c);
  std::vector<std::vector<uint8_t>> out = empty_outputs(s);
  for_each_element(s, [&](int src, int64_t i, int64_t h, const std::vector<Term>& terms) {
    const float start = start_of(s, src, i);
    const float sum = c.reduce == Reduce::kSlot ? sum_slots(s, terms, start, h)
                                                : sum_partials(s, terms, start, h);
    store(c.out_type, out[src].data() + i * bytes_of(c.out_type), sum);
  });
  return out;
}

std::vector<std::vector<uint8_t>> combine_bf16_accumulator(const Problem& p,
                                                           const Prepared& prepared,
                                                           const CombineCase& c) {
  const Combination s = open(p, prepared, c);
  std::vector<std::vector<uint8_t>> out = empty_outputs(s);
  for_each_element(s, [&](int src, int64_t i, int64_t h, const std::vector<Term>& terms) {
    float acc = from_bf16(to_bf16(start_of(s, src, i)));
    for (const Term& term : terms) acc = from_bf16(to_bf16(acc + value_of(s, term, h)));
    store(c.out_type, out[src].data() + i * bytes_of(c.out_type), acc);
  });
  return out;
}

std::vector<Bounded> combine_reference(const Problem& p, const Prepared& prepared,
                                       const CombineCase& c) {
  const Combination s = open(p, prepared, c);
  const int hops = c.reduce == Reduce::kSlot ? 0 : c.reduce == Reduce::kRank ? 1 : 2;
  const double relative =
      unit_roundoff(c.out_type) + hops * unit_roundoff(c.partial) + (p.topk + 2) * 0x1p-24;
  std::vector<Bounded> out(p.nranks());
  for_each_element(s, [&](int src, int64_t i, int64_t h, const std::vector<Term>& terms) {
    double sum = 0;
    double magnitude = 0;
    auto add = [&](double term) {
      sum += term;
      magnitude += std::fabs(term);
    };
    for (const auto& bias : s.bias) {
      if (!bias.empty()) add(bias[src][i]);
    }
    for (const Term& term : terms) {
      add(double{term.weight} * double{s.rows[term.rank][term.row * c.hidden + h]});
    }
    // Products below the range of f32 lose bits too.
    const double floors = half_subnormal(c.out_type) +
                          partials_of(s, terms) * half_subnormal(c.partial) +
                          static_cast<double>(terms.size()) * 0x1p-150;
    out[src].value.push_back(sum);
    out[src].bound.push_back(relative * magnitude + floors);
  });
  return out;
}

std::vector<std::vector<float>> slot_values(const Problem& p, const Prepared& prepared,
                                            const std::vector<std::vector<float>>& values) {
  const std::vector<std::vector<int64_t>> at = find_rows(p, prepared);
  std::vector<std::vector<float>> out(p.nranks());
  for (int src = 0; src < p.nranks(); ++src) {
    for (size_t slot = 0; slot < at[src].size(); ++slot) {
      const int32_t expert = prepared.routing.kept[src][slot];
      if (expert < 0) {
        out[src].push_back(0.0f);
        continue;
      }
      const std::vector<float>& from = values[p.owner_of(expert)];
      const auto k = static_cast<int64_t>(slot) % p.topk;
      const int64_t row = at[src][slot];
      out[src].push_back(p.has_expert_rows() ? from[row] : from[row * p.topk + k]);
    }
  }
  return out;
}

}  // namespace tutti::oracle
