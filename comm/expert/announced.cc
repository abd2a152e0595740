#include "comm/expert/announced.h"

namespace tutti {

Status check_announced(const ExpertShape& shape, const Placement& placement, const AllCounts& all,
                       int rank) {
  for (int s = 0; s < all.nranks(); ++s) {
    const uint32_t tokens = all.of(s).header().tokens;
    if (tokens > shape.max_tokens) {
      return error(Code::kRemoteError, "rank %d: expected at most %u tokens, got %u", s,
                   shape.max_tokens, tokens);
    }
    const uint64_t most = uint64_t{tokens} * shape.topk;
    const uint64_t assignments = all.assignments(placement, s, rank);
    const uint32_t here = all.of(s).tokens()[static_cast<size_t>(rank)];
    if (assignments > most || here > tokens) {
      return error(Code::kRemoteError,
                   "rank %d: expected at most %llu assignments and %u tokens for rank %d, got %llu "
                   "and %u",
                   s, static_cast<unsigned long long>(most), tokens, rank,
                   static_cast<unsigned long long>(assignments), here);
    }
  }
  return Status();
}

Status check_told(const Placement& placement, const AllCounts& all, int rank,
                  const Arrivals& arrivals, const RowsOfArrivals& rows) {
  for (size_t i = 0; i < rows.count.size(); ++i) {
    const uint32_t expert = placement.experts_of(rank)[i];
    uint64_t announced = 0;
    for (int s = 0; s < all.nranks(); ++s) announced += all.of(s).assignments()[expert];
    if (rows.count[i] == announced) continue;
    return error(Code::kRemoteError, "expert %u: expected %llu assignments as announced, got %u",
                 expert, static_cast<unsigned long long>(announced), rows.count[i]);
  }
  for (int s = 0; s < all.nranks(); ++s) {
    const auto i = static_cast<size_t>(s);
    const uint32_t got = arrivals.source_rows[i + 1] - arrivals.source_rows[i];
    const uint32_t announced = all.of(s).tokens()[static_cast<size_t>(rank)];
    if (got <= announced) continue;
    return error(Code::kRemoteError, "rank %d: expected at most %u tokens as announced, got %u", s,
                 announced, got);
  }
  return Status();
}

}  // namespace tutti
