// What all kinds of steps do alike with messages. Inline: an operation of 8 bytes feels each call.
#pragma once

#include "comm/exec/execution.h"

namespace tutti {

inline void Execution::fill_iovecs(const BoundOperand& o) {
  for (uint32_t i = 0; i < o.num_parts; ++i) {
    const Extent& part = plan_->parts[o.first_part + i];
    plan_->iovecs[o.first_part + i] = {base(o.buffer) + part.offset, part.bytes};
  }
}

// The message's iovec entries are lent with it: those of the last round must be back.
inline bool Execution::entries_lent(const BoundLane& lane, const BoundOperand& o) const {
  if (lane.round == 0) return false;
  const SendEnd& end = plan_->sends[o.channel];
  return end.channel->sent() <= end.base + (lane.round - 1) * uint64_t{end.per_round} + o.message;
}

inline bool Execution::post(const BoundLane& lane, const BoundOperand& o) {
  if (entries_lent(lane, o)) return false;
  if (drains_) {
    return plan_->sends[o.channel].channel->post_send(header_for(lane, o), &nothing_, 1);
  }
  fill_iovecs(o);
  return plan_->sends[o.channel].channel->post_send(
      header_for(lane, o), plan_->iovecs.data() + o.first_part, static_cast<int>(o.num_parts));
}

// The first message of an operation names it; later ones must not.
inline Execution::StepResult Execution::check(const RecvEnd& end, const BoundLane& lane,
                                              const BoundOperand& o, size_t expected,
                                              const Message& message) {
  const bool first = lane.round == 0 && o.message == 0;
  const bool header_right = first ? message.header != nullptr &&
                                        message.header->comm_epoch == header_.comm_epoch &&
                                        message.header->sequence == header_.sequence &&
                                        message.header->fingerprint == header_.fingerprint
                                  : message.header == nullptr;
  if (header_right && message.bytes == expected) return StepResult::kDone;
  surprise_ = {end.peer, message.header != nullptr, {}, message.bytes, expected};
  if (message.header != nullptr) surprise_.header = *message.header;
  return StepResult::kMismatch;
}

inline bool Execution::release_inputs(const BoundStep& step) {
  bool all = true;
  if (!plan_->capabilities.view) return all;
  for (uint32_t k = 0; k < step.n_in; ++k) {
    const BoundOperand& o = plan_->operands[step.first + k];
    if (o.channel != kNoChannel) all = plan_->recvs[o.channel].channel->release() && all;
  }
  return all;
}

}  // namespace tutti
