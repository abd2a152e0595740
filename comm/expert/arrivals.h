// Arrivals: which tokens of which rank come to this one, and for which of its experts: what every
// rank tells every other one of its assignments there, and where it is kept.
//
// On the wire one assignment is two words: the token; k << 24 | local expert; in (token, k) order,
// then one f32 weight each where weights travel. A row of arrivals is a distinct token of a source
// that has assignments here; its assignments follow one another, by ascending k.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/base/status.h"
#include "comm/expert/placement.h"

namespace tutti {

inline constexpr uint32_t kMostTopk = 64;
inline constexpr uint32_t kMostExperts = 1u << 24;

struct RoutedAssignment {
  uint32_t token;
  uint32_t k_expert;  // k << 24 | local expert
  uint32_t k() const { return k_expert >> 24; }
  uint32_t expert() const { return k_expert & (kMostExperts - 1); }
};
static_assert(sizeof(RoutedAssignment) == 8);

constexpr size_t routed_bytes(size_t assignments, bool weighted) {
  return assignments * (sizeof(RoutedAssignment) + (weighted ? sizeof(float) : 0));
}

// Writes what `rank` is told: those of `experts` that live there, as many as count_routing() says,
// in routed_bytes() at `out`. `weights`: empty, or one for each of `experts`.
void write_routed(const Placement& placement, int rank, uint32_t topk,
                  std::span<const int32_t> experts, std::span<const float> weights,
                  size_t assignments, std::byte* out);

// The other side of arrivals: the rows that this rank sends to each rank, and what a token has
// there. Borrowed memory; sizes as said.
struct Departures {
  std::span<uint32_t> rank_rows;  // [R + 1]: rows to rank r are [rank_rows[r], rank_rows[r + 1])
  std::span<uint32_t> token;      // [rows], ascending for each rank
  std::span<uint32_t> first;      // [rows + 1]: assignments of row m are [first[m], first[m + 1])
  std::span<uint8_t> k;           // [assignments], ascending for each row

  // `tokens_to[r]`, `sent_to[r]`: as count_routing() has counted `experts`.
  void fill(const Placement& placement, uint32_t topk, std::span<const int32_t> experts,
            std::span<const uint32_t> tokens_to, std::span<const uint32_t> sent_to);
};

// Borrowed memory; sizes as said.
struct Arrivals {
  std::span<uint32_t> source_rows;  // [R + 1]: rows of source s are [source_rows[s], [s + 1])
  std::span<uint32_t> token;        // [rows]
  std::span<uint32_t> first;        // [rows + 1]: assignments of row m are [first[m], first[m + 1])
  std::span<uint8_t> k;             // [assignments]
  std::span<uint32_t> expert;       // [assignments], local
  std::span<float> weight;          // [assignments], or empty
  uint32_t rows = 0;
  uint32_t assignments = 0;

  std::span<const uint8_t> k_of(uint32_t row) const {
    return k.subspan(first[row], first[row + 1] - first[row]);
  }
  // Before the first source.
  void clear();
  // Appends what source `source` has told: the next one. kRemoteError when that is not in order or
  // out of range, or more than there is room for.
  Status add(uint32_t source, uint32_t source_tokens, uint32_t topk, uint32_t num_local,
             const std::byte* routed, size_t count);
};

}  // namespace tutti
