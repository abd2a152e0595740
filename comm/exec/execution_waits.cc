// What a run waits for, and whether it waits in vain: the slow questions, asked by whoever has
// waited for a while.
#include "comm/exec/execution.h"

namespace tutti {

int Execution::waiting_for() const {
  const uint32_t rounds = plan_->layout.rounds();
  for (const BoundLane& lane : plan_->lanes) {
    if (lane.round >= rounds) continue;
    const BoundStep& step = plan_->steps[lane.first_step + lane.step];
    if (waits(lane, step)) break;
    for (uint32_t k = 0; k < step.n_in; ++k) {
      const BoundOperand& o = plan_->operands[step.first + k];
      if (is_missing(lane, o)) return plan_->recvs[o.channel].peer;
    }
  }
  for (const SendEnd& end : plan_->sends) {
    if (end.channel->sent() < end.channel->posted()) return end.peer;
  }
  return -1;
}

namespace {

// What a channel says of its end, with the peer's number in this communicator.
template <typename End>
Status health_of(const End& end, int* peer) {
  Status status = end.channel->health();
  if (status.ok()) return status;
  *peer = end.peer;
  return error(status.code(), "rank %d: %s", end.peer, status.text().c_str());
}

}  // namespace

// Each end is asked twice: a peer may do all that is wanted of it and leave between the first
// question and that after its health.
Status Execution::health(int* peer) const {
  const uint32_t rounds = plan_->layout.rounds();
  for (const BoundLane& lane : plan_->lanes) {
    if (lane.round >= rounds) continue;
    const BoundStep& step = plan_->steps[lane.first_step + lane.step];
    for (uint32_t k = 0; k < step.n_in; ++k) {
      const BoundOperand& o = plan_->operands[step.first + k];
      if (step.op == Op::kOffer || !is_missing(lane, o)) continue;
      Status status = health_of(plan_->recvs[o.channel], peer);
      if (!status.ok() && is_missing(lane, o)) return status;
    }
    // Of the outputs those that have not been posted yet.
    const uint32_t end = uint32_t{step.n_in} + step.n_out;
    for (uint32_t k = step.n_in + lane.next_post; k < end && step.op != Op::kOffer; ++k) {
      const BoundOperand& o = plan_->operands[step.first + k];
      if (o.channel != kNoChannel) TUTTI_TRY(health_of(plan_->sends[o.channel], peer));
    }
  }
  for (const SendEnd& end : plan_->sends) {
    if (end.channel->sent() == end.channel->posted()) continue;
    Status status = health_of(end, peer);
    if (!status.ok() && end.channel->sent() < end.channel->posted()) return status;
  }
  return Status();
}

}  // namespace tutti
