// Steps of rows: their messages, around what row_compute.h makes of them.
#include "comm/exec/execution-inl.h"
#include "comm/exec/row_compute.h"

namespace tutti {

Execution::StepResult Execution::run_rows(BoundLane& lane, const BoundStep& step) {
  if (!lane.computed) {
    if (waits(lane, step)) return StepResult::kBlocked;
    const StepResult arrived = gather_rows(lane, step);
    if (arrived != StepResult::kDone) return arrived;
    failure_ = drains_ ? Status() : compute_rows(step);
    if (cut_) return StepResult::kBlocked;
    if (!failure_.ok()) return fetch_failed(step) ? StepResult::kBlocked : StepResult::kFailed;
    // As run_kernel: what was read may have changed under the kernel.
    cut_ = !release_inputs(step);
    if (cut_) return StepResult::kBlocked;
    lane.computed = true;
  }
  return post_rows(lane, step) ? StepResult::kDone : StepResult::kBlocked;
}

// Finds every message: shown by its channel, or landed in the rows of its set.
Execution::StepResult Execution::gather_rows(BoundLane& lane, const BoundStep& step) {
  const bool view = plan_->capabilities.view;
  if (!view && !lane.receives_posted) {
    post_row_receives(step);
    lane.receives_posted = true;
  }
  for (uint32_t k = 0; k < step.n_in; ++k) {
    const BoundOperand& o = plan_->operands[step.first + k];
    RowTables::Shown& shown = plan_->row_tables.shown[k];
    shown = {};
    in_[k].remote = nullptr;
    if (o.channel == kNoChannel) continue;
    const RecvEnd& end = plan_->recvs[o.channel];
    const size_t expected =
        plan_->row_sets[step.first + k].count * plan_->row_layout[o.buffer].bytes;
    if (!view) {
      if (end.channel->received() <= end.base + o.message) return StepResult::kBlocked;
      const StepResult ok = check_rows(end, o, expected, end.channel->last());
      if (ok != StepResult::kDone) return ok;
      continue;
    }
    const Message* message = end.channel->view();
    if (message == nullptr) return StepResult::kBlocked;
    const StepResult ok = check_rows(end, o, expected, *message);
    if (ok != StepResult::kDone) return ok;
    shown = {message, end.channel};
    if (message->parts == nullptr) in_[k].remote = end.channel;
  }
  return StepResult::kDone;
}

// Into the rows of their sets; what is only taken to be dropped is never written.
void Execution::post_row_receives(const BoundStep& step) {
  for (uint32_t k = 0; k < step.n_in; ++k) {
    const BoundOperand& o = plan_->operands[step.first + k];
    if (o.channel == kNoChannel) continue;
    RecvChannel* const channel = plan_->recvs[o.channel].channel;
    if (drains_) {
      channel->post_recv(&nothing_, 1);
      continue;
    }
    fill_iovecs(o);
    channel->post_recv(plan_->iovecs.data() + o.first_part, static_cast<int>(o.num_parts));
  }
}

namespace {

// A fingerprint of rows has in its upper half which messages there are, and in its lower one, which
// has a zero bit, what they hold: all ones stand there for those who refuse.
constexpr uint64_t kRefused = UINT32_MAX;

}  // namespace

void Execution::refuse() {
  drains_ = true;
  header_.fingerprint |= kRefused;
}

void Execution::hear_refusal(Refusal::Kind kind, int peer) {
  drains_ = true;
  if (refusal_.kind == Refusal::Kind::kNone) refusal_ = {kind, peer};
}

// As check(), but that a peer may do the same with other rows, or with none.
Execution::StepResult Execution::check_rows(const RecvEnd& end, const BoundOperand& o,
                                            size_t expected, const Message& message) {
  const OpHeader* const header = message.header;
  bool right = (header != nullptr) == (o.message == 0);
  if (right && header != nullptr) {
    right = header->comm_epoch == header_.comm_epoch && header->sequence == header_.sequence &&
            (header->fingerprint | kRefused) == (fingerprint_ | kRefused);
    if (right && header->fingerprint != fingerprint_) {
      const bool refused = (header->fingerprint & kRefused) == kRefused;
      hear_refusal(refused ? Refusal::Kind::kThere : Refusal::Kind::kDiffers, end.peer);
    }
  }
  if (right && !drains_ && message.bytes != expected) {
    right = message.bytes == 0;
    if (right) hear_refusal(Refusal::Kind::kThere, end.peer);
  }
  if (right) return StepResult::kDone;
  surprise_ = {end.peer, header != nullptr, {}, message.bytes, expected};
  if (header != nullptr) surprise_.header = *header;
  return StepResult::kMismatch;
}

uint64_t Execution::staged_bytes() const {
  uint64_t bytes = traffic_.staged_bytes;
  for (const SendEnd& end : plan_->sends) bytes += end.channel->copied_bytes() - end.copied;
  return bytes;
}

Status Execution::compute_rows(const BoundStep& step) {
  RowCompute work(plan_, step, base_, how_.stores, &traffic_);
  while (work.more()) {
    if (!step.local && !gate_->enter()) {
      cut_ = true;  // a part may have been computed: nothing can follow
      return Status();
    }
    Status computed = work.stretch();
    if (!step.local) gate_->leave();
    TUTTI_TRY(computed);
  }
  return Status();
}

bool Execution::post_rows(BoundLane& lane, const BoundStep& step) {
  for (uint32_t k = lane.next_post; k < step.n_out; ++k) {
    const BoundOperand& o = plan_->operands[step.first + step.n_in + k];
    if (o.channel == kNoChannel || post(lane, o)) continue;
    lane.next_post = static_cast<uint16_t>(k);
    return false;
  }
  return true;
}

}  // namespace tutti
