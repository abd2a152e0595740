#include "comm/expert/partial_sums.h"

namespace tutti {

std::span<const uint32_t> PartialSums::rows(std::span<const uint32_t> of) {
  const std::span<const uint32_t> first = routed_.arrivals->first;
  rows_.clear();
  for (const uint32_t m : of) {
    if (!is_by_expert(routed_.shape->layout)) {
      rows_.push_back(routed_.rows->row[m]);
      continue;
    }
    for (uint32_t a = first[m]; a < first[m + 1]; ++a) rows_.push_back(routed_.rows->row[a]);
  }
  return rows_;
}

void PartialSums::add_up(std::span<const uint32_t> of, uint32_t slot, int peer) {
  const Arrivals& in = *routed_.arrivals;
  const bool by_expert = is_by_expert(routed_.shape->layout);
  b_.begin(RowKernel::kSum, work_.weighted);
  const uint32_t input = b_.input(b_.list(Buffer::kInput, rows(of)));
  b_.output(b_.run(Buffer::kScratch, slot, static_cast<uint32_t>(of.size())), peer);
  uint32_t row = 0;
  for (const uint32_t m : of) {
    terms_.clear();
    if (!by_expert) terms_.push_back({input, row++, 1});
    for (uint32_t a = in.first[m]; by_expert && a < in.first[m + 1]; ++a) {
      terms_.push_back({input, row++, work_.weighted ? in.weight[a] : 1});
    }
    b_.row(terms_);
  }
  b_.end();
}

}  // namespace tutti
