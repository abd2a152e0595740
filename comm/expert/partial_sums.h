// PartialSums: what a rank has of the rows of arrivals, added up for each of them: the part of
// combine that does not depend on where the sums go. Borrows all it is given. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/expert/expert_schedule.h"
#include "comm/schedule/row_builder.h"

namespace tutti {

class PartialSums {
 public:
  PartialSums(const Routed& routed, const CombineWork& work, RowBuilder* builder)
      : routed_(routed), work_(work), b_(*builder) {}

  // Whether rows are such sums already, and travel as they are.
  bool are_rows() const { return !is_by_expert(routed_.shape->layout) && work_.same_type; }
  // The rows that this rank has for rows `of` of arrivals, in (token, k) order. Until the next
  // call.
  std::span<const uint32_t> rows(std::span<const uint32_t> of);
  // A step: the sums for rows `of` of arrivals, to rows of kScratch from `slot` on; a message to
  // `peer`.
  void add_up(std::span<const uint32_t> of, uint32_t slot, int peer);

 private:
  const Routed& routed_;
  const CombineWork& work_;
  RowBuilder& b_;
  std::vector<uint32_t> rows_;
  std::vector<RowTerm> terms_;
};

}  // namespace tutti
