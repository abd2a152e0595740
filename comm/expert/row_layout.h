// Where arrivals go in the output of dispatch: a pure function of the routing, whatever the timing.
#pragma once

#include <cstdint>
#include <span>

#include "comm/expert/arrivals.h"
#include "comm/expert/types.h"

namespace tutti {

// Borrowed memory.
struct RowsOfArrivals {
  // Output row of each assignment (layouts by expert) or of each row of arrivals (the others).
  std::span<uint32_t> row;
  std::span<uint32_t> count;  // [L] assignments of each local expert
  std::span<int64_t> offset;  // [L + 1] first row of each; the last: all rows
  uint64_t num_rows = 0;      // N, padding included
};

// Whether zones have shape.zone_rows rows, or at least as many.
bool has_fixed_zones(const ExpertShape& shape);

// Rows of the zone of a local expert with `count` assignments, in layouts by expert.
uint64_t zone_rows(const ExpertShape& shape, uint64_t count);

// Rows of the output in all, from the assignments of the local experts and the rows of arrivals.
uint64_t rows_needed(const ExpertShape& shape, int nranks, std::span<const uint32_t> count,
                     uint64_t arrival_rows);

// By (source, token), by (local expert, source, token, k), or [source, rank of the token].
void lay_out(const ExpertShape& shape, int nranks, const Arrivals& arrivals, RowsOfArrivals* out);
// No rows at all, not even those that a layout always has: a masked rank.
void lay_out_nothing(RowsOfArrivals* out);

}  // namespace tutti
