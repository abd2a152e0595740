// The part of Prepare that is about masked ranks.
#include <algorithm>

#include "comm/expert/prepare.h"

namespace tutti {

bool PrepareOperation::is_left_out() const { return is_masked(masked_, comm().rank()); }

namespace {

// Experts are counted one by one, and so is what a capacity of a source has kept of each: without
// masked ranks the others have counted the same.
void leave_out(const Placement& placement, std::span<const uint8_t> masked, const AllCounts& all) {
  for (int s = 0; s < all.nranks(); ++s) {
    const ExpertCounts counts = all.of(s);
    for (uint32_t e = 0; e < placement.num_experts(); ++e) {
      if (is_masked(masked, s) || is_masked(masked, placement.rank_of(e))) {
        counts.assignments()[e] = 0;
      }
    }
    for (int r = 0; r < all.nranks(); ++r) {
      if (!is_masked(masked, s) && !is_masked(masked, r)) continue;
      counts.tokens()[static_cast<size_t>(r)] = 0;
    }
  }
}

}  // namespace

// Masks that are new count at once.
void PrepareOperation::agree_on_masks() {
  if (!handle_.group().masks().agree(all())) return;
  ExpertMasks::View masks = handle_.group().masks().agreed();
  masked_ = std::move(masks.masked);
  handle_.mask_epoch = masks.epoch;
  leave_out(handle_.group().placement(), masked_, all());
  route();
}

// Whether to go on. What others have wrong is no loss to a masked rank.
bool PrepareOperation::accepts(const Status& verdict) {
  outcome_ = verdict;
  if (verdict.code() == Code::kRemoteError && is_left_out()) take_nothing();
  return verdict.ok();
}

// As though the others had told nothing.
void PrepareOperation::take_nothing() {
  ExpertHandle::Tables& t = handle_.tables;
  std::fill(t.tokens_to.begin(), t.tokens_to.end(), 0);
  std::fill(t.sent_to.begin(), t.sent_to.end(), 0);
  std::fill(t.wanted.begin(), t.wanted.end(), 0);
  t.departures.fill(handle_.group().placement(), handle_.shape().topk,
                    t.experts.first(size_t{handle_.tokens} * handle_.shape().topk), t.tokens_to,
                    t.sent_to);
  t.arrivals.clear();
  std::fill(t.arrivals.source_rows.begin(), t.arrivals.source_rows.end(), 0);
  lay_out_nothing(&t.rows);
  finish_routing();
}

}  // namespace tutti
