// Run, continued: offers. From an offer to the step that receives its message the peer may write
// the place at any moment, so the window counts as a write by somebody else.
#include "comm/verify/run.h"

namespace tutti {

namespace {
using Kind = Defect::Kind;
}  // namespace

bool Run::open_window(uint32_t lane) {
  const WorldLane& l = world_->lanes[lane];
  const WorldStep& step = world_->steps[l.first_step + lanes_[lane].step];
  const WorldOperand& o = world_->operands[step.first];
  const WorldMessage& m = world_->messages[o.message];
  for (uint32_t k = 0; k < step.nchunks; ++k) {
    const uint64_t index = cell_at(l.rank, o.cell, lanes_[lane].round) + k;
    if (!offer_cell(lane, world_->offers[m.offer], m.reply, m.offer, index, o.cell + k)) {
      return false;
    }
  }
  return true;
}

bool Run::offer_cell(uint32_t lane, const WorldOffer& offer, bool reply, uint32_t offered,
                     uint64_t index, uint32_t cell) {
  Cell& c = cells_[index];
  if (c.offer != 0) return fail_offered(lane, cell, c.offer - 1, "offers");
  // Whether a message has been consumed by now depends on timing, unless the peer answered (known)
  // or answers before it writes (reply; proved when the world was loaded).
  if (c.lent_channel != kNothing) {
    const bool known = c.lent_channel != kMany &&
                       world_->channels[c.lent_channel].from_lane == lane &&
                       known_consumed_[c.lent_channel] > c.lent_message;
    const bool answered = reply && c.lent_channel == (offer.channel ^ 1);
    if (!known && !answered) {
      const std::string to =
          c.lent_channel == kMany
              ? "several ranks"
              : "rank " + std::to_string(world_->channels[c.lent_channel].to_rank);
      return fail(Kind::kOfferConflict, lane, cell, "a place that is not lent when it is offered",
                  "it may still be lent to " + to);
    }
  }
  if (watched(world_->lanes[lane].rank)) {
    const uint32_t other = order_.unordered(lane, index);
    if (other != kNothing) {
      return fail(Kind::kOfferConflict, lane, cell, "all uses by other lanes over before the offer",
                  "lane " + std::to_string(other) + " uses it without order");
    }
  }
  c.offer = offered + 1;
  return true;
}

bool Run::fail_offered(uint32_t lane, uint32_t cell, uint32_t offer, const char* access) {
  const WorldOffer& o = world_->offers[offer];
  return fail(Kind::kOfferConflict, lane, cell,
              "no use between its offer (step " + std::to_string(o.step) + ") and the message",
              std::string("a step that ") + access + " it, while rank " +
                  std::to_string(world_->channels[o.channel].from_rank) + " may write it");
}

}  // namespace tutti
