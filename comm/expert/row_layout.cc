#include "comm/expert/row_layout.h"

#include <algorithm>

namespace tutti {

namespace {

void lay_out_by_expert(const Arrivals& arrivals, RowsOfArrivals* out) {
  // offset[i] runs through zone i, and is set back.
  for (uint32_t a = 0; a < arrivals.assignments; ++a) {
    out->row[a] = static_cast<uint32_t>(out->offset[arrivals.expert[a]]++);
  }
  for (size_t i = 0; i < out->count.size(); ++i) out->offset[i] -= out->count[i];
}

}  // namespace

bool has_fixed_zones(const ExpertShape& shape) {
  const bool per_expert =
      shape.cap == ExpertCap::kExpertPerSource || shape.cap == ExpertCap::kExpertGlobal;
  return shape.layout == ExpertLayout::kExpertSlab ||
         (shape.layout == ExpertLayout::kExpertMajor && shape.pad_to_capacity && per_expert);
}

uint64_t zone_rows(const ExpertShape& shape, uint64_t count) {
  if (shape.layout == ExpertLayout::kExpertSlab) return shape.zone_rows;
  if (has_fixed_zones(shape)) count = std::max<uint64_t>(count, shape.zone_rows);
  return (count + shape.alignment - 1) / shape.alignment * shape.alignment;
}

uint64_t rows_needed(const ExpertShape& shape, int nranks, std::span<const uint32_t> count,
                     uint64_t arrival_rows) {
  if (shape.layout == ExpertLayout::kFlat) return arrival_rows;
  if (shape.layout == ExpertLayout::kRankMajor) {
    return static_cast<uint64_t>(nranks) * shape.max_tokens;
  }
  uint64_t rows = 0;
  for (const uint32_t c : count) rows += zone_rows(shape, c);
  return rows;
}

void lay_out(const ExpertShape& shape, int nranks, const Arrivals& arrivals, RowsOfArrivals* out) {
  std::fill(out->count.begin(), out->count.end(), 0);
  for (uint32_t a = 0; a < arrivals.assignments; ++a) ++out->count[arrivals.expert[a]];
  out->num_rows = rows_needed(shape, nranks, out->count, arrivals.rows);
  int64_t at = 0;
  for (size_t i = 0; i < out->count.size(); ++i) {
    out->offset[i] = at;
    at += is_by_expert(shape.layout) ? static_cast<int64_t>(zone_rows(shape, out->count[i])) : 0;
  }
  out->offset[out->count.size()] = at;
  if (is_by_expert(shape.layout)) return lay_out_by_expert(arrivals, out);
  const bool by_rank = shape.layout == ExpertLayout::kRankMajor;
  for (int s = 0; s < nranks; ++s) {
    const uint32_t begin = arrivals.source_rows[static_cast<size_t>(s)];
    const uint32_t end = arrivals.source_rows[static_cast<size_t>(s) + 1];
    for (uint32_t m = begin; m < end; ++m) {
      out->row[m] = by_rank ? static_cast<uint32_t>(s) * shape.max_tokens + (m - begin) : m;
    }
  }
}

void lay_out_nothing(RowsOfArrivals* out) {
  std::fill(out->count.begin(), out->count.end(), 0);
  std::fill(out->offset.begin(), out->offset.end(), 0);
  out->num_rows = 0;
}

}  // namespace tutti
