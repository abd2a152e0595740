#include "comm/expert/routing.h"

#include <algorithm>
#include <cstring>

namespace tutti {

int64_t RoutingIds::at(uint32_t token, uint32_t k) const {
  const char* const row = static_cast<const char*>(data) + token * row_stride;
  if (wide) {
    int64_t id;
    std::memcpy(&id, row + k * sizeof(id), sizeof(id));
    return id;
  }
  int32_t id;
  std::memcpy(&id, row + k * sizeof(id), sizeof(id));
  return id;
}

Status resolve_experts(const RoutingIds& ids, const Placement& placement, int rank,
                       std::span<const uint8_t> masked, std::span<int32_t> experts) {
  size_t i = 0;
  for (uint32_t t = 0; t < ids.tokens; ++t) {
    for (uint32_t k = 0; k < ids.topk; ++k, ++i) {
      const int64_t id = ids.at(t, k);
      experts[i] = kNoExpert;
      if (id < 0) continue;
      if (static_cast<uint64_t>(id) >= placement.num_ids()) {
        return error(Code::kInvalidArgument,
                     "topk_idx[%u][%u]: expected an expert below %u or a negative number, got %lld",
                     t, k, placement.num_ids(), static_cast<long long>(id));
      }
      const uint32_t e = placement.resolve(static_cast<uint32_t>(id), rank, t);
      if (!masked.empty() && masked[static_cast<size_t>(placement.rank_of(e))] != 0) continue;
      experts[i] = static_cast<int32_t>(e);
    }
  }
  return Status();
}

uint64_t drop_after(uint32_t capacity, std::span<uint32_t> used, std::span<int32_t> experts) {
  uint64_t dropped = 0;
  for (int32_t& e : experts) {
    if (e == kNoExpert) continue;
    uint32_t& count = used[static_cast<size_t>(e)];
    if (count < capacity) {
      ++count;
    } else {
      e = kNoExpert;
      ++dropped;
    }
  }
  return dropped;
}

uint64_t drop_per_source(uint32_t capacity, ExpertKeep keep, std::span<const float> weights,
                         std::span<uint32_t> order, std::span<uint32_t> used,
                         std::span<int32_t> experts) {
  std::fill(used.begin(), used.end(), 0);
  if (keep == ExpertKeep::kPosition) return drop_after(capacity, used, experts);
  for (size_t i = 0; i < experts.size(); ++i) order[i] = static_cast<uint32_t>(i);
  // The weights that are no number come last, whatever their sign.
  const auto heavier = [weights](uint32_t a, uint32_t b) {
    const float x = weights[a];
    const float y = weights[b];
    if (x > y || (x == x && y != y)) return true;
    if (x < y || (x != x && y == y)) return false;
    return a < b;
  };
  std::sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(experts.size()), heavier);
  uint64_t dropped = 0;
  for (const uint32_t i : order.first(experts.size())) {
    if (experts[i] == kNoExpert) continue;
    uint32_t& count = used[static_cast<size_t>(experts[i])];
    if (count < capacity) {
      ++count;
    } else {
      experts[i] = kNoExpert;
      ++dropped;
    }
  }
  return dropped;
}

uint64_t drop_tokens_after(uint32_t capacity, const Placement& placement, uint32_t topk,
                           std::span<uint32_t> used, std::span<int32_t> experts) {
  uint64_t dropped = 0;
  for (size_t first = 0; first < experts.size(); first += topk) {
    const std::span<int32_t> of_token = experts.subspan(first, topk);
    each_destination(placement, of_token, [&](int rank, uint64_t mask) {
      uint32_t& count = used[static_cast<size_t>(rank)];
      if (count < capacity) {
        ++count;
        return;
      }
      for (uint64_t bits = mask; bits != 0; bits &= bits - 1) {
        of_token[static_cast<size_t>(__builtin_ctzll(bits))] = kNoExpert;
        ++dropped;
      }
    });
  }
  return dropped;
}

void count_routing(const Placement& placement, uint32_t topk, std::span<const int32_t> experts,
                   std::span<uint32_t> assignments, std::span<uint32_t> tokens) {
  std::fill(assignments.begin(), assignments.end(), 0);
  std::fill(tokens.begin(), tokens.end(), 0);
  for (const int32_t e : experts) {
    if (e != kNoExpert) ++assignments[static_cast<size_t>(e)];
  }
  for (size_t first = 0; first < experts.size(); first += topk) {
    each_destination(placement, experts.subspan(first, topk),
                     [&](int rank, uint64_t) { ++tokens[static_cast<size_t>(rank)]; });
  }
}

}  // namespace tutti
