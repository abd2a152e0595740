#include "comm/expert/arrivals.h"

#include <cstring>
#include <vector>

#include "comm/expert/routing.h"

namespace tutti {

void write_routed(const Placement& placement, int rank, uint32_t topk,
                  std::span<const int32_t> experts, std::span<const float> weights,
                  size_t assignments, std::byte* out) {
  std::byte* weight_out = out + assignments * sizeof(RoutedAssignment);
  uint32_t token = 0;
  uint32_t k = 0;
  for (size_t i = 0; i < experts.size(); ++i) {
    const int32_t e = experts[i];
    if (e != kNoExpert && placement.rank_of(static_cast<uint32_t>(e)) == rank) {
      const RoutedAssignment routed = {token,
                                       k << 24 | placement.local_of(static_cast<uint32_t>(e))};
      std::memcpy(out, &routed, sizeof(routed));
      out += sizeof(routed);
      if (!weights.empty()) {
        std::memcpy(weight_out, &weights[i], sizeof(float));
        weight_out += sizeof(float);
      }
    }
    if (++k == topk) {
      k = 0;
      ++token;
    }
  }
}

void Departures::fill(const Placement& placement, uint32_t topk, std::span<const int32_t> experts,
                      std::span<const uint32_t> tokens_to, std::span<const uint32_t> sent_to) {
  // Where each rank's next row and assignment go. first[] of the row after a rank's last one is the
  // next rank's first: both say where the assignments change hands.
  std::vector<uint32_t> row(tokens_to.size());
  std::vector<uint32_t> assignment(tokens_to.size());
  rank_rows[0] = 0;
  first[0] = 0;
  uint32_t assignments = 0;
  for (size_t r = 0; r < tokens_to.size(); ++r) {
    row[r] = rank_rows[r];
    assignment[r] = assignments;
    rank_rows[r + 1] = rank_rows[r] + tokens_to[r];
    assignments += sent_to[r];
    first[rank_rows[r + 1]] = assignments;
  }
  for (size_t t = 0; t * topk < experts.size(); ++t) {
    each_destination(placement, experts.subspan(t * topk, topk), [&](int rank, uint64_t mask) {
      const auto r = static_cast<size_t>(rank);
      token[row[r]] = static_cast<uint32_t>(t);
      first[row[r]++] = assignment[r];
      for (uint64_t bits = mask; bits != 0; bits &= bits - 1) {
        k[assignment[r]++] = static_cast<uint8_t>(__builtin_ctzll(bits));
      }
    });
  }
}

void Arrivals::clear() {
  rows = 0;
  assignments = 0;
  source_rows[0] = 0;
  first[0] = 0;
}

Status Arrivals::add(uint32_t source, uint32_t source_tokens, uint32_t topk, uint32_t num_local,
                     const std::byte* routed, size_t count) {
  if (count > expert.size() - assignments) {
    return error(Code::kRemoteError, "rank %u: expected at most %zu assignments, got %zu", source,
                 expert.size() - assignments, count);
  }
  const std::byte* const weights = routed + count * sizeof(RoutedAssignment);
  RoutedAssignment last = {};
  for (size_t i = 0; i < count; ++i) {
    RoutedAssignment one;
    std::memcpy(&one, routed + i * sizeof(one), sizeof(one));
    const bool opens = i == 0 || one.token != last.token;
    const bool rises = i == 0 || (opens ? one.token > last.token : one.k() > last.k());
    if (!rises || one.token >= source_tokens || one.k() >= topk || one.expert() >= num_local ||
        (opens && rows == token.size())) {
      return error(Code::kRemoteError,
                   "rank %u: assignment %zu of %zu: expected tokens below %u in order, k below %u "
                   "and a local expert below %u, got token %u, k %u, expert %u",
                   source, i, count, source_tokens, topk, num_local, one.token, one.k(),
                   one.expert());
    }
    if (opens) {
      token[rows] = one.token;
      first[rows++] = assignments;
    }
    k[assignments] = static_cast<uint8_t>(one.k());
    expert[assignments] = one.expert();
    if (!weight.empty()) std::memcpy(&weight[assignments], weights + i * sizeof(float), 4);
    ++assignments;
    last = one;
  }
  first[rows] = assignments;
  source_rows[source + 1] = rows;
  return Status();
}

}  // namespace tutti
