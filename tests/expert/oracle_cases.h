// Problems and rows that the tests of the oracle share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "tests/expert/oracle.h"

namespace tutti::oracle {

// Two ranks, experts 0 1 | 2 3, K = 2, maxT = 3:
//   rank 0: token 0 -> 0 2, token 1 -> 3 3 (twice the same), token 2 -> masked, 1
//   rank 1: token 0 -> 2 0
inline Problem two_ranks(Layout layout) {
  Problem p;
  p.topk = 2;
  p.max_tokens = 3;
  p.num_experts = 4;
  p.layout = layout;
  p.ranks.resize(2);
  p.ranks[0] = {3, {0, 2, 3, 3, -1, 1}, {0.5f, 0.25f, 2, 4, 8, 0.125f}};
  p.ranks[1] = {1, {2, 0}, {3, 5}};
  return p;
}

// One token of rank 0 that goes to `ids`; expert e on rank owners[e].
inline Problem one_token(std::vector<int64_t> ids, std::vector<int32_t> owners, Layout layout) {
  Problem p;
  p.topk = static_cast<int>(ids.size());
  p.max_tokens = 1;
  p.num_experts = static_cast<int>(owners.size());
  p.ranks.resize(1 + *std::max_element(owners.begin(), owners.end()));
  p.ranks[0] = {1, std::move(ids), {}};
  p.expert_rank = std::move(owners);
  p.layout = layout;
  return p;
}

// Random problems small enough to compute with, that never overflow.
inline Problem sound_problem(uint64_t seed, const Limits& limits) {
  Problem p = random_problem(seed, limits);
  p.slab_rows = p.nranks() * p.max_tokens * p.topk;
  return p;
}

inline Limits small_limits() {
  Limits limits;
  limits.max_ranks = 5;
  limits.max_tokens = 9;
  limits.max_topk = 12;
  limits.max_experts = 24;
  return limits;
}

// [ranks][count(rank)] numbers made by `draw`.
template <typename Count, typename Draw>
std::vector<std::vector<float>> numbers_of(int nranks, Count count, Draw draw) {
  std::vector<std::vector<float>> numbers(nranks);
  for (int r = 0; r < nranks; ++r) {
    for (int64_t i = 0; i < count(r); ++i) numbers[r].push_back(draw());
  }
  return numbers;
}

inline std::vector<std::vector<uint8_t>> pack_all(tuttiDataType_t dtype,
                                                  const std::vector<std::vector<float>>& numbers) {
  std::vector<std::vector<uint8_t>> packed;
  for (const std::vector<float>& rank : numbers) packed.push_back(pack(dtype, rank));
  return packed;
}

// Ordinary rows for every rank, in its layout.
inline std::vector<std::vector<float>> normals(Random& random, const Problem& p,
                                               const Prepared& prepared, int64_t hidden) {
  return numbers_of(
      p.nranks(), [&](int r) { return prepared.layouts[r].rows * hidden; },
      [&] { return random.normal(); });
}

}  // namespace tutti::oracle
