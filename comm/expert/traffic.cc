#include "comm/expert/traffic.h"

namespace tutti {

namespace {

size_t tier_of(const Placement& placement, int from, int to) {
  if (from == to) return 0;
  return placement.node_of(from) == placement.node_of(to) ? 1 : 2;
}

bool is_value(Buffer buffer) {
  return buffer == Buffer::kInputValue || buffer == Buffer::kOutputValue ||
         buffer == Buffer::kScratchValue;
}

bool is_side(Buffer buffer) {
  return buffer == Buffer::kInputSide || buffer == Buffer::kOutputSide ||
         buffer == Buffer::kScratchSide;
}

bool is_output(Buffer buffer) {
  return buffer == Buffer::kOutput || buffer == Buffer::kOutputSide ||
         buffer == Buffer::kOutputValue;
}

// The rows or bytes that operand `number` of the plan stands for.
void count(const Plan& plan, uint32_t number, size_t bytes, size_t tier, ExpertTraffic* out) {
  if (plan.rows == nullptr) {
    out->meta_bytes[tier] += bytes;
    return;
  }
  const Buffer buffer = plan.operands[number].buffer;
  const uint32_t rows = plan.row_sets[number].count;
  const size_t row_bytes = rows * plan.row_layout[buffer].bytes;
  (is_value(buffer) ? out->meta_bytes : out->payload_bytes)[tier] += row_bytes;
  if (!is_value(buffer) && !is_side(buffer)) out->rows[tier] += rows;
}

// Inputs from which the step makes output with no message in between.
void count_kept(const Plan& plan, const BoundStep& step, ExpertTraffic* out) {
  if (step.n_in == 0 || step.op == Op::kSend) return;
  if (!is_output(plan.operands[step.first + step.n_in].buffer)) return;
  const uint32_t biases =
      plan.rows != nullptr ? plan.row_steps[step.ordinal].program.num_biases : 0;
  for (uint32_t k = biases; k < step.n_in; ++k) {
    if (plan.operands[step.first + k].channel != kNoChannel) continue;
    count(plan, step.first + k, step.bytes, 0, out);
  }
}

}  // namespace

void ExpertTraffic::add(const ExpertTraffic& more) {
  for (size_t tier = 0; tier < rows.size(); ++tier) {
    rows[tier] += more.rows[tier];
    payload_bytes[tier] += more.payload_bytes[tier];
    meta_bytes[tier] += more.meta_bytes[tier];
  }
}

ExpertTraffic traffic_of(const Plan& plan, const Placement& placement, int rank) {
  ExpertTraffic sent;
  for (const BoundStep& step : plan.steps) {
    if (step.op == Op::kOffer) continue;  // says where a message may go, and is none
    count_kept(plan, step, &sent);
    for (uint32_t k = step.n_in; k < uint32_t{step.n_in} + step.n_out; ++k) {
      const BoundOperand& o = plan.operands[step.first + k];
      if (o.channel == kNoChannel) continue;
      const size_t tier = tier_of(placement, rank, plan.sends[o.channel].peer);
      count(plan, step.first + k, step.bytes, tier, &sent);
    }
  }
  return sent;
}

}  // namespace tutti
