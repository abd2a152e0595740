// Entries: where ranks are spread over nodes, one of the ranks of a node that need a token is its
// entry there: its row may come in through that rank, which hands it on, and what is made of it may
// leave through it. Which one that is follows from the routing alone: the number of the token,
// mixed, chooses among them, so that no rank has more of this work than others.
//
// The rank of the token finds the entries in its own routing. The ranks of the node learn from
// Prepare which of their mates need the token, too, and find the same entry.
#pragma once

#include <cstdint>
#include <span>

#include "comm/base/status.h"
#include "comm/expert/arrivals.h"
#include "comm/expert/placement.h"

namespace tutti {

// Ranks of a node by bits, the lowest first.
using Mates = std::span<const uint32_t>;

// Words of a mask of mates; 0 where there is one node, and nothing to tell.
uint32_t mate_words(int nranks, int ranks_per_node);
inline uint32_t mate_words(const Placement& placement) {
  return mate_words(placement.nranks(), placement.ranks_per_node());
}

// For each row of departures or arrivals. Borrowed memory; empty where there is one node.
struct Entries {
  std::span<uint32_t> mates;  // [rows * words]: ranks of its node that need the token; 0 where the
                              // token is of that node itself
  std::span<uint32_t> rank;   // [rows]: where it enters the node; there: the rank that needs it
  uint32_t words = 0;

  Mates mates_of(uint32_t row) const { return mates.subspan(size_t{row} * words, words); }
};

// The rank among `mates` of `node` that is the entry for a token of `source`.
int entry_of(const Placement& placement, int source, uint32_t token, int node, Mates mates);

// Of all rows that `rank` sends.
void fill_entries(const Placement& placement, int rank, uint32_t tokens,
                  const Departures& departures, Entries* entries);

// Bytes of masks that `source` tells `rank`, for `rows` rows: none within a node.
size_t mate_bytes(const Placement& placement, int source, int rank, size_t rows);

// Writes them.
void write_mates(const Placement& placement, int source, int rank, const Departures& departures,
                 const Entries& entries, std::byte* out);

// Of what `rank` gets from `source`, with the masks that fill_entries() made there. kRemoteError
// when these cannot be.
Status take_entries(const Placement& placement, int rank, int source, const Arrivals& arrivals,
                    const std::byte* mates, Entries* entries);

// Calls visit(rank) for each of `mates`, ascending; `first`: the lowest rank of their node.
template <typename Visit>
void each_mate(int first, Mates mates, Visit visit) {
  for (size_t word = 0; word < mates.size(); ++word) {
    for (uint32_t bits = mates[word]; bits != 0; bits &= bits - 1) {
      visit(first + static_cast<int>(word) * 32 + __builtin_ctz(bits));
    }
  }
}

}  // namespace tutti
