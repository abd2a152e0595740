#include "comm/expert/agreement.h"

#include <array>

#include "comm/expert/row_layout.h"

namespace tutti {

size_t ExpertCounts::bytes(uint32_t num_experts, int nranks) {
  const auto n = static_cast<size_t>(nranks);
  const size_t all = sizeof(ExpertHeader) + (num_experts + n) * sizeof(uint32_t) + n;
  return (all + 7) / 8 * 8;
}

uint64_t AllCounts::assignments(const Placement& placement, int source, int rank) const {
  uint64_t sum = 0;
  for (const uint32_t e : placement.experts_of(rank)) sum += of(source).assignments()[e];
  return sum;
}

ExpertHeader header_of(const ExpertShape& shape, uint32_t tokens, bool weighted, Code code) {
  ExpertHeader h;
  h.code = static_cast<uint32_t>(code);
  h.tokens = tokens;
  h.topk = shape.topk;
  h.alignment = shape.alignment;
  h.capacity = shape.capacity;
  h.max_tokens = shape.max_tokens;
  h.layout = static_cast<uint8_t>(shape.layout);
  h.cap = static_cast<uint8_t>(shape.cap);
  h.keep = static_cast<uint8_t>(shape.keep);
  h.pad_to_capacity = shape.pad_to_capacity ? 1 : 0;
  h.weighted = weighted ? 1 : 0;
  h.zone_rows = has_fixed_zones(shape) ? shape.zone_rows : 0;
  h.most_rows = shape.max_recv_rows > 0 ? shape.max_recv_rows : UINT64_MAX;
  return h;
}

namespace {

// The assignments of each expert of `rank`, over all sources: by visit(total).
template <typename Visit>
void each_total(const Placement& placement, const AllCounts& all, int rank, Visit visit) {
  for (const uint32_t e : placement.experts_of(rank)) {
    uint64_t total = 0;
    for (int s = 0; s < all.nranks(); ++s) total += all.of(s).assignments()[e];
    visit(e, total);
  }
}

Status differs(const char* field, int rank, uint64_t expected, uint64_t got) {
  return error(Code::kInvalidArgument,
               "%s: expected the same on all ranks, got %llu here and %llu on rank %d", field,
               static_cast<unsigned long long>(expected), static_cast<unsigned long long>(got),
               rank);
}

Status compare(const ExpertHeader& mine, const ExpertHeader& theirs, int rank) {
  struct Field {
    const char* name;
    uint64_t expected, got;
  };
  const std::array fields = {
      Field{"num_topk", mine.topk, theirs.topk},
      Field{"layout", mine.layout, theirs.layout},
      Field{"alignment", mine.alignment, theirs.alignment},
      Field{"cap", mine.cap, theirs.cap},
      Field{"capacity", mine.capacity, theirs.capacity},
      Field{"keep", mine.keep, theirs.keep},
      Field{"pad_to_capacity", mine.pad_to_capacity, theirs.pad_to_capacity},
      Field{"slab_rows", mine.zone_rows, theirs.zone_rows},
      Field{"mask epoch", mine.mask_epoch, theirs.mask_epoch},
  };
  for (const Field& f : fields) {
    if (f.expected != f.got) return differs(f.name, rank, f.expected, f.got);
  }
  return Status();
}

// Of no tokens there are no weights to give: ranks that have tokens are compared with each other,
// so that those without find the same.
Status compare_weights(const AllCounts& all, std::span<const uint8_t> masked, int rank,
                       int* culprit) {
  const bool expected = is_weighted(all, masked, rank);
  for (int r = 0; r < all.nranks(); ++r) {
    const ExpertHeader& theirs = all.of(r).header();
    if (is_masked(masked, r) || theirs.tokens == 0 || (theirs.weighted != 0) == expected) continue;
    *culprit = r;
    return error(Code::kInvalidArgument,
                 "topk_weight given: expected the same on all ranks that have tokens, got %d and, "
                 "on rank %d, %d",
                 static_cast<int>(expected), r, theirs.weighted);
  }
  return Status();
}

// Where the rows of the output are fixed the bound says nothing.
Status room_at(const ExpertShape& shape, const Placement& placement, const AllCounts& all,
               int rank) {
  Status full;
  if (shape.layout == ExpertLayout::kExpertSlab) {
    each_total(placement, all, rank, [&](uint32_t e, uint64_t total) {
      if (!full.ok() || total <= shape.zone_rows) return;
      full = error(Code::kInvalidArgument,
                   "rank %d, expert %u: expected at most %u assignments (rows of a slab), got %llu",
                   rank, e, shape.zone_rows, static_cast<unsigned long long>(total));
    });
    if (!full.ok()) return full;
  }
  const uint64_t rows = rows_needed_at(shape, placement, all, rank);
  // Schedules name rows, and the numbers beside them, in 32 bits.
  const uint64_t countable = UINT32_MAX / (is_by_expert(shape.layout) ? 1 : shape.topk);
  if (rows > countable) {
    return error(Code::kInvalidArgument,
                 "rank %d: expected at most %llu rows (all that can be counted), got %llu", rank,
                 static_cast<unsigned long long>(countable), static_cast<unsigned long long>(rows));
  }
  const bool fixed =
      shape.layout == ExpertLayout::kExpertSlab || shape.layout == ExpertLayout::kRankMajor;
  const uint64_t most = fixed ? UINT64_MAX : all.of(rank).header().most_rows;
  if (rows <= most) return Status();
  return error(Code::kInvalidArgument,
               "rank %d: expected at most %llu rows (max_recv_rows), got %llu", rank,
               static_cast<unsigned long long>(most), static_cast<unsigned long long>(rows));
}

}  // namespace

uint64_t rows_needed_at(const ExpertShape& shape, const Placement& placement, const AllCounts& all,
                        int rank) {
  uint64_t rows = 0;
  if (is_by_expert(shape.layout)) {
    each_total(placement, all, rank,
               [&](uint32_t, uint64_t total) { rows += zone_rows(shape, total); });
    return rows;
  }
  if (shape.layout == ExpertLayout::kRankMajor) {
    return static_cast<uint64_t>(all.nranks()) * shape.max_tokens;
  }
  for (int s = 0; s < all.nranks(); ++s) {
    rows += all.of(s).tokens()[static_cast<size_t>(rank)];
  }
  return rows;
}

Status check_headers(const AllCounts& all, std::span<const uint8_t> masked, int rank,
                     const Status& own, int* culprit) {
  *culprit = rank;
  if (!own.ok() && !is_masked(masked, rank)) return own;
  for (int r = 0; r < all.nranks(); ++r) {
    const uint32_t code = all.of(r).header().code;
    if (code == 0 || is_masked(masked, r)) continue;
    *culprit = r;
    return error(Code::kRemoteError, "rank %d: Prepare has failed there: %s", r,
                 code_name(static_cast<Code>(code)));
  }
  for (int r = 0; r < all.nranks(); ++r) {
    *culprit = r;
    TUTTI_TRY(compare(all.of(rank).header(), all.of(r).header(), r));
  }
  return compare_weights(all, masked, rank, culprit);
}

bool is_weighted(const AllCounts& all, std::span<const uint8_t> masked, int rank) {
  for (int r = 0; r < all.nranks(); ++r) {
    if (is_masked(masked, r)) continue;
    if (all.of(r).header().tokens > 0) return all.of(r).header().weighted != 0;
  }
  return all.of(rank).header().weighted != 0;
}

Status check_room(const ExpertShape& shape, const Placement& placement, const AllCounts& all,
                  std::span<const uint8_t> masked, int rank, int* culprit) {
  *culprit = rank;
  if (!is_masked(masked, rank)) TUTTI_TRY(room_at(shape, placement, all, rank));
  for (int r = 0; r < all.nranks(); ++r) {
    if (is_masked(masked, r)) continue;
    *culprit = r;
    const Status there = room_at(shape, placement, all, r);
    if (!there.ok()) return error(Code::kRemoteError, "%s", there.text().c_str());
  }
  return Status();
}

}  // namespace tutti
