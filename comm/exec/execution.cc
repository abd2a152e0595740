#include "comm/exec/execution.h"

#include <algorithm>

#include "comm/base/wait.h"
#include "comm/exec/execution-inl.h"

namespace tutti {

namespace {
// Below this a message fits a few cache lines: an offer and its answer would cost more line flights
// than they save.
constexpr size_t kPlaceMinimumBytes = 4096;
}  // namespace

void Execution::start(Plan* plan, const RunBuffers& buffers, const OpHeader& header,
                      const Arithmetic& how, const Device* device, KernelGate* gate) {
  plan_ = plan;
  device_ = device;
  gate_ = gate;
  base_[static_cast<size_t>(Buffer::kInput)] = static_cast<char*>(buffers.input);
  base_[static_cast<size_t>(Buffer::kOutput)] = static_cast<char*>(buffers.output);
  base_[static_cast<size_t>(Buffer::kScratch)] = static_cast<char*>(buffers.scratch);
  if (plan->rows != nullptr) {
    base_[static_cast<size_t>(Buffer::kInputSide)] = static_cast<char*>(buffers.input_side);
    base_[static_cast<size_t>(Buffer::kOutputSide)] = static_cast<char*>(buffers.output_side);
    base_[static_cast<size_t>(Buffer::kScratchSide)] = static_cast<char*>(buffers.scratch_side);
    base_[static_cast<size_t>(Buffer::kInputValue)] = static_cast<char*>(buffers.input_value);
    base_[static_cast<size_t>(Buffer::kOutputValue)] = static_cast<char*>(buffers.output_value);
    base_[static_cast<size_t>(Buffer::kScratchValue)] = static_cast<char*>(buffers.scratch_value);
    // Read only.
    base_[static_cast<size_t>(Buffer::kBias0)] =
        static_cast<char*>(const_cast<void*>(buffers.bias0));
    base_[static_cast<size_t>(Buffer::kBias1)] =
        static_cast<char*>(const_cast<void*>(buffers.bias1));
  }
  // Field by field: the caller has just written them (send_channel.cc, publish()).
  header_.comm_epoch = header.comm_epoch;
  header_.sequence = header.sequence;
  header_.fingerprint = header.fingerprint;
  how_ = how;
  traffic_ = {};
  lanes_done_ = false;
  cut_ = false;
  drains_ = false;
  refusal_ = {};
  fingerprint_ = header.fingerprint;
  for (uint32_t l = 0; l < plan->lanes.size(); ++l) {
    BoundLane& lane = plan->lanes[l];
    // The last run may have ended in another round.
    if (plan->layout.rounds() > 1) plan->bind_round(l, 0);
    lane.round = lane.num_steps == 0 ? plan->layout.rounds() : 0;
    lane.step = 0;
    lane.next_post = 0;
    lane.receives_posted = false;
    lane.computed = false;
  }
  for (SendEnd& end : plan->sends) {
    end.base = end.channel->posted();
    if (plan->rows != nullptr) end.copied = end.channel->copied_bytes();
  }
  for (RecvEnd& end : plan->recvs) end.base = end.channel->received();
  if (in_.size() < plan->most_operands) {
    in_.resize(plan->most_operands);
    out_.resize(plan->most_operands);
    src_.resize(plan->most_operands);
    dst_.resize(plan->most_operands);
  }
  // Rows are fetched to where they belong.
  if (plan->capabilities.fetch && plan->rows == nullptr && !plan->recvs.empty() &&
      num_fetched_ < plan->most_operands) {
    fetched_ = std::make_unique_for_overwrite<std::byte[]>(plan->most_operands * kFetchBytes);
    num_fetched_ = plan->most_operands;
  }
}

Execution::State Execution::advance() {
  if (cut_) return State::kBlocked;
  if (!lanes_done_) {
    const uint32_t rounds = plan_->layout.rounds();
    bool moved = true;
    bool finished = false;
    while (moved && !finished) {
      moved = false;
      finished = true;
      for (BoundLane& lane : plan_->lanes) {
        while (lane.round < rounds) {
          const StepResult result = run_step(lane, plan_->steps[lane.first_step + lane.step]);
          if (result == StepResult::kMismatch) return State::kMismatch;
          if (result == StepResult::kFailed) return State::kFailed;
          if (result == StepResult::kBlocked) break;
          next_step(lane);
          moved = true;
        }
        finished = finished && lane.round == rounds;
      }
    }
    if (!finished) return State::kBlocked;
    lanes_done_ = true;
  }
  return all_sent() ? State::kDone : State::kBlocked;
}

inline void Execution::next_step(BoundLane& lane) {
  ++steps_run_;
  lane.next_post = 0;
  lane.receives_posted = false;
  lane.computed = false;
  if (++lane.step < lane.num_steps) return;
  lane.step = 0;
  ++lane.round;
  if (lane.round < plan_->layout.rounds()) {
    plan_->bind_round(static_cast<uint32_t>(&lane - plan_->lanes.data()), lane.round);
  }
}

inline bool Execution::all_sent() const {
  const uint64_t rounds = plan_->layout.rounds();
  for (const SendEnd& end : plan_->sends) {
    if (end.channel->sent() < end.base + rounds * end.per_round) return false;
  }
  return true;
}

inline Execution::StepResult Execution::run_step(BoundLane& lane, const BoundStep& step) {
  if (step.op == Op::kOffer) {
    run_offer(lane, step);
    return StepResult::kDone;
  }
  if (step.op == Op::kSend) return run_send(lane, step);
  if (step.op == Op::kRows) return run_rows(lane, step);
  return run_kernel(lane, step);
}

bool Execution::still_waits(const BoundLane& lane, const BoundStep& step) const {
  if (step.wait_lane != kNoLane) {
    const BoundLane& other = plan_->lanes[step.wait_lane];
    if (other.round < lane.round || (other.round == lane.round && other.step <= step.wait_step)) {
      return true;
    }
  }
  for (uint32_t i = 0; i < step.num_lent; ++i) {
    const Lent& loan = plan_->lent[step.first_lent + i];
    if (loan.previous_round && lane.round == 0) continue;
    const SendEnd& end = plan_->sends[loan.channel];
    const uint64_t round = lane.round - (loan.previous_round ? 1 : 0);
    if (end.channel->sent() <= end.base + round * end.per_round + loan.message) return true;
  }
  return false;
}

inline void Execution::run_offer(const BoundLane& lane, const BoundStep& step) {
  const BoundOperand& o = plan_->operands[step.first];
  if (!plan_->capabilities.place || step.bytes < kPlaceMinimumBytes || o.num_parts != 1) return;
  const RecvEnd& end = plan_->recvs[o.channel];
  const uint64_t ordinal = end.base + uint64_t{lane.round} * end.per_round + step.ordinal;
  end.channel->offer(ordinal, base(o.buffer) + plan_->parts[o.first_part].offset, step.bytes,
                     header_.fingerprint);
}

inline Execution::StepResult Execution::run_send(BoundLane& lane, const BoundStep& step) {
  if (waits(lane, step)) return StepResult::kBlocked;
  const BoundOperand& to = plan_->operands[step.first + step.n_in];
  return post(lane, to) ? StepResult::kDone : StepResult::kBlocked;
}

inline Execution::StepResult Execution::run_kernel(BoundLane& lane, const BoundStep& step) {
  if (!lane.computed) {
    if (waits(lane, step)) return StepResult::kBlocked;
    if (step.local) return run_local(step);
    const StepResult arrived = gather_inputs(lane, step);
    if (arrived != StepResult::kDone) return arrived;
    if (!gate_->enter()) return StepResult::kBlocked;
    failure_ = compute(step, choose_destinations(step));
    gate_->leave();
    if (!failure_.ok()) return fetch_failed(step) ? StepResult::kBlocked : StepResult::kFailed;
    // An input whose sender has ended the communicator may have changed under the kernel. Others
    // have been given back, so that nothing can follow.
    cut_ = !release_inputs(step);
    if (cut_) return StepResult::kBlocked;
    lane.computed = true;
  }
  return post_outputs(lane, step) ? StepResult::kDone : StepResult::kBlocked;
}

// Own memory only: nothing to wait for, nobody else to mind.
inline Execution::StepResult Execution::run_local(const BoundStep& step) {
  if (step.bytes == 0) return StepResult::kDone;
  const BoundOperand* o = &plan_->operands[step.first];
  for (size_t k = 0; k < step.n_in; ++k) src_[k] = address(*o++);
  for (size_t k = 0; k < step.n_out; ++k) dst_[k] = address(*o++);
  failure_ = compute_span(step, step.bytes, step.n_out);
  return failure_.ok() ? StepResult::kDone : StepResult::kFailed;
}

// A small message is mostly a fraction of a microsecond away, and found soonest by who does nothing
// else meanwhile.
inline const Message* Execution::look_for(RecvChannel& channel) const {
  const Message* message = channel.view();
  for (uint32_t i = 0; message == nullptr && i < looks_; ++i) {
    look_once();
    message = channel.view();
  }
  return message;
}

// Finds every input: local ones in memory, messages where they lie or where they landed.
inline Execution::StepResult Execution::gather_inputs(BoundLane& lane, const BoundStep& step) {
  const bool view = plan_->capabilities.view;
  if (!view && !lane.receives_posted) {
    for (uint32_t k = 0; k < step.n_in; ++k) {
      const BoundOperand& o = plan_->operands[step.first + k];
      if (o.channel == kNoChannel) continue;
      fill_iovecs(o);
      plan_->recvs[o.channel].channel->post_recv(plan_->iovecs.data() + o.first_part,
                                                 static_cast<int>(o.num_parts));
    }
    lane.receives_posted = true;
  }
  for (uint32_t k = 0; k < step.n_in; ++k) {
    const BoundOperand& o = plan_->operands[step.first + k];
    Cursor& cursor = in_[k];
    if (o.channel == kNoChannel || !view) {
      if (o.channel != kNoChannel) {
        const RecvEnd& end = plan_->recvs[o.channel];
        const uint64_t number = end.base + uint64_t{lane.round} * end.per_round + o.message;
        if (end.channel->received() <= number) return StepResult::kBlocked;
        const StepResult ok = check(end, lane, o, step.bytes, end.channel->last());
        if (ok != StepResult::kDone) return ok;
      }
      fill_iovecs(o);
      cursor = {plan_->iovecs.data() + o.first_part, o.num_parts};
      continue;
    }
    const RecvEnd& end = plan_->recvs[o.channel];
    const Message* message = look_for(*end.channel);
    if (message == nullptr) return StepResult::kBlocked;
    const StepResult ok = check(end, lane, o, step.bytes, *message);
    if (ok != StepResult::kDone) return ok;
    cursor = {message->parts, static_cast<uint32_t>(message->nparts)};
    if (message->parts == nullptr) cursor.remote = end.channel;
  }
  return StepResult::kDone;
}

// Decides where the kernel writes: the local place when somebody reads it there, and the address a
// peer offered for each message it will take that way. Returns the number of destinations in out_.
inline int Execution::choose_destinations(const BoundStep& step) {
  const uint32_t first = step.first + step.n_in;
  bool home = (plan_->operands[first].flags & kKeep) != 0;
  int n = 0;
  for (uint32_t k = 1; k < step.n_out; ++k) {
    BoundOperand& o = plan_->operands[first + k];
    o.placed = nullptr;
    if (plan_->capabilities.place && step.bytes >= kPlaceMinimumBytes) {
      o.placed = plan_->sends[o.channel].channel->place(step.bytes, header_.fingerprint);
    }
    if (o.placed == nullptr) {
      home = true;
      continue;
    }
    Cursor& cursor = out_[static_cast<size_t>(n++)];
    cursor.whole = {o.placed, step.bytes};
    cursor.parts = &cursor.whole;
    cursor.num_parts = 1;
  }
  if (home) {
    const BoundOperand& o = plan_->operands[first];
    fill_iovecs(o);
    out_[static_cast<size_t>(n++)] = {plan_->iovecs.data() + o.first_part, o.num_parts};
  }
  return n;
}

// Whether the kernel failed for want of a message, of which the channel's health tells.
bool Execution::fetch_failed(const BoundStep& step) const {
  return std::any_of(in_.begin(), in_.begin() + step.n_in, [](const Cursor& cursor) {
    return cursor.remote != nullptr && !cursor.remote->health().ok();
  });
}

inline bool Execution::post_outputs(BoundLane& lane, const BoundStep& step) {
  for (uint32_t k = std::max<uint32_t>(1, lane.next_post); k < step.n_out; ++k) {
    const BoundOperand& o = plan_->operands[step.first + step.n_in + k];
    const bool posted = o.placed != nullptr ? plan_->sends[o.channel].channel->post_placed(
                                                  header_for(lane, o), step.bytes)
                                            : post(lane, o);
    if (!posted) {
      lane.next_post = static_cast<uint16_t>(k);
      return false;
    }
  }
  return true;
}

// Whether the message that `input` stands for in this round has not arrived yet.
bool Execution::is_missing(const BoundLane& lane, const BoundOperand& input) const {
  if (input.channel == kNoChannel || lane.computed) return false;
  const RecvEnd& end = plan_->recvs[input.channel];
  if (plan_->capabilities.view) return end.channel->view() == nullptr;
  return end.channel->received() <= end.base + uint64_t{lane.round} * end.per_round + input.message;
}

}  // namespace tutti
