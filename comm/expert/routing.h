// Routing: what one rank's router has decided, and what becomes of each assignment (t, k) before
// anything is exchanged, and after the counts of all ranks are known. Pure functions over spans of
// T * K numbers in (token, k) order.
#pragma once

#include <cstdint>
#include <span>

#include "comm/base/status.h"
#include "comm/expert/placement.h"

namespace tutti {

// The ids as the caller gives them: [tokens, topk], i32 or i64.
struct RoutingIds {
  const void* data = nullptr;
  bool wide = false;      // i64
  size_t row_stride = 0;  // bytes
  uint32_t tokens = 0;
  uint32_t topk = 1;
  int64_t at(uint32_t token, uint32_t k) const;
};

// experts[t * topk + k]: the physical expert, kNoExpert for negative ids and for experts of masked
// ranks. `masked[r]`: empty for none. kInvalidArgument names the first id that is out of range.
Status resolve_experts(const RoutingIds& ids, const Placement& placement, int rank,
                       std::span<const uint8_t> masked, std::span<int32_t> experts);

// ExpertCap::kExpertPerSource: keeps `capacity` assignments of each expert, the first, or those
// with the greatest weights (ties: the lower token, then the lower k); the others become kNoExpert.
// `order`: working memory for as many numbers as there are assignments, of kWeight only. Returns
// how many were dropped.
uint64_t drop_per_source(uint32_t capacity, ExpertKeep keep, std::span<const float> weights,
                         std::span<uint32_t> order, std::span<uint32_t> used,
                         std::span<int32_t> experts);

// ExpertCap::kExpertGlobal: `used[e]` assignments of lower ranks come before ours.
uint64_t drop_after(uint32_t capacity, std::span<uint32_t> used, std::span<int32_t> experts);

// ExpertCap::kRank: `used[r]` tokens of lower ranks go to rank r before ours. What a token has at a
// rank stays or goes together.
uint64_t drop_tokens_after(uint32_t capacity, const Placement& placement, uint32_t topk,
                           std::span<uint32_t> used, std::span<int32_t> experts);

// assignments[e], and tokens[r]: distinct tokens with an assignment at rank r. Both are set.
void count_routing(const Placement& placement, uint32_t topk, std::span<const int32_t> experts,
                   std::span<uint32_t> assignments, std::span<uint32_t> tokens);

// Calls visit(rank, k_mask) for every rank that the token's `experts` go to, ascending: bit k of
// k_mask is set for those there.
template <typename Visit>
void each_destination(const Placement& placement, std::span<const int32_t> experts, Visit visit) {
  uint64_t left = 0;
  for (size_t k = 0; k < experts.size(); ++k) {
    if (experts[k] != kNoExpert) left |= uint64_t{1} << k;
  }
  while (left != 0) {
    int rank = placement.nranks();
    uint64_t mask = 0;
    for (uint64_t bits = left; bits != 0; bits &= bits - 1) {
      const auto k = static_cast<size_t>(__builtin_ctzll(bits));
      const int of = placement.rank_of(static_cast<uint32_t>(experts[k]));
      if (of < rank) mask = 0;
      if (of <= rank) {
        rank = of;
        mask |= uint64_t{1} << k;
      }
    }
    left &= ~mask;
    visit(rank, mask);
  }
}

}  // namespace tutti
