#include "comm/expert/entries.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "comm/base/hash.h"

namespace tutti {

namespace {

constexpr uint32_t kWordBits = 32;

void set_bit(std::span<uint32_t> mask, int bit) {
  mask[static_cast<size_t>(bit) / kWordBits] |= 1u << (static_cast<uint32_t>(bit) % kWordBits);
}

bool has_bit(Mates mask, int bit) {
  return (mask[static_cast<size_t>(bit) / kWordBits] >> (static_cast<uint32_t>(bit) % kWordBits) &
          1) != 0;
}

// One past the highest bit.
int width_of(Mates mask) {
  for (size_t word = mask.size(); word-- > 0;) {
    if (mask[word] != 0) {
      return static_cast<int>(word * kWordBits) + static_cast<int>(std::bit_width(mask[word]));
    }
  }
  return 0;
}

}  // namespace

uint32_t mate_words(int nranks, int ranks_per_node) {
  if (nranks <= ranks_per_node) return 0;
  return (static_cast<uint32_t>(ranks_per_node) + kWordBits - 1) / kWordBits;
}

int entry_of(const Placement& placement, int source, uint32_t token, int node, Mates mates) {
  uint32_t count = 0;
  for (const uint32_t word : mates) count += static_cast<uint32_t>(std::popcount(word));
  const uint64_t mixed =
      hash_combine(hash_combine(static_cast<uint64_t>(source), token), static_cast<uint64_t>(node));
  auto left = static_cast<uint32_t>(mixed % std::max(count, 1u));
  int entry = -1;
  each_mate(node * placement.ranks_per_node(), mates, [&](int rank) {
    if (left-- == 0) entry = rank;
  });
  return entry;
}

void fill_entries(const Placement& placement, int rank, uint32_t tokens,
                  const Departures& departures, Entries* entries) {
  const uint32_t words = entries->words;
  if (words == 0) return;
  std::vector<uint32_t> of_token(size_t{tokens} * words);
  const auto each_row = [&](int node, auto visit) {
    const int first = node * placement.ranks_per_node();
    const int last = std::min(first + placement.ranks_per_node(), placement.nranks());
    for (int r = first; r < last; ++r) {
      const auto i = static_cast<size_t>(r);
      for (uint32_t m = departures.rank_rows[i]; m < departures.rank_rows[i + 1]; ++m) {
        visit(r, m, std::span(of_token).subspan(size_t{departures.token[m]} * words, words));
      }
    }
  };
  for (int node = 0; node < placement.num_nodes(); ++node) {
    if (node == placement.node_of(rank)) {
      each_row(node, [&](int r, uint32_t m, std::span<uint32_t>) {
        std::fill_n(&entries->mates[size_t{m} * words], words, 0);
        entries->rank[m] = static_cast<uint32_t>(r);
      });
      continue;
    }
    const int first = node * placement.ranks_per_node();
    std::fill(of_token.begin(), of_token.end(), 0);
    each_row(node, [&](int r, uint32_t, std::span<uint32_t> mates) { set_bit(mates, r - first); });
    each_row(node, [&](int, uint32_t m, std::span<uint32_t> mates) {
      std::copy(mates.begin(), mates.end(), &entries->mates[size_t{m} * words]);
      entries->rank[m] =
          static_cast<uint32_t>(entry_of(placement, rank, departures.token[m], node, mates));
    });
  }
}

size_t mate_bytes(const Placement& placement, int source, int rank, size_t rows) {
  if (placement.node_of(source) == placement.node_of(rank)) return 0;
  return rows * mate_words(placement) * sizeof(uint32_t);
}

void write_mates(const Placement& placement, int source, int rank, const Departures& departures,
                 const Entries& entries, std::byte* out) {
  const auto r = static_cast<size_t>(rank);
  const uint32_t first = departures.rank_rows[r];
  const size_t bytes = mate_bytes(placement, source, rank, departures.rank_rows[r + 1] - first);
  if (bytes > 0) std::memcpy(out, &entries.mates[size_t{first} * entries.words], bytes);
}

Status take_entries(const Placement& placement, int rank, int source, const Arrivals& arrivals,
                    const std::byte* mates, Entries* entries) {
  const uint32_t words = entries->words;
  if (words == 0) return Status();
  const int node = placement.node_of(rank);
  const int first = node * placement.ranks_per_node();
  const int ranks = std::min(placement.ranks_per_node(), placement.nranks() - first);
  const auto s = static_cast<size_t>(source);
  for (uint32_t m = arrivals.source_rows[s]; m < arrivals.source_rows[s + 1]; ++m) {
    const std::span<uint32_t> mask = entries->mates.subspan(size_t{m} * words, words);
    entries->rank[m] = static_cast<uint32_t>(rank);
    if (placement.node_of(source) == node) {
      std::fill(mask.begin(), mask.end(), 0);
      continue;
    }
    std::memcpy(mask.data(), mates, mask.size_bytes());
    mates += mask.size_bytes();
    if (width_of(mask) > ranks || !has_bit(mask, rank - first)) {
      return error(Code::kRemoteError,
                   "rank %d: token %u: expected rank %d among %d ranks of its node, got others",
                   source, arrivals.token[m], rank, ranks);
    }
    entries->rank[m] =
        static_cast<uint32_t>(entry_of(placement, source, arrivals.token[m], node, mask));
  }
  return Status();
}

}  // namespace tutti
