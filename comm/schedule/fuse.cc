// The fuse pass. Works on one lane at a time, front to back:
//
//   recv p -> S ; recv q -> T ; reduce {X, S, T} -> D ; send D -> p ; send D -> q
//   becomes   reduce {X, p:S, q:T} -> {D, p:D, q:D}
//
// A recv joins the reduce that follows it when its landing place is scratch that nothing reads
// afterwards; sends join the step that makes what they send. Two cases stay apart: a reduce into
// memory that was lent earlier in the lane (it would wait for a peer before giving back what that
// peer waits for; see all_reduce one_shot in place), and two messages of one peer in one step (a
// channel shows one message at a time).
#include "comm/schedule/fuse.h"

#include <algorithm>

#include "comm/schedule/places.h"

namespace tutti {

namespace {

class LaneFuser {
 public:
  LaneFuser(Schedule* s, Lane* lane, const ChunkMap& chunks, const std::vector<bool>& shared)
      : s_(s), lane_(lane), chunks_(chunks), shared_(shared) {
    removed_.assign(lane->steps.size(), false);
    into_.resize(lane->steps.size());
    lent_.assign(chunks.size(), false);
    find_dead_inputs();
  }

  // into_[i]: the step that does step i's work afterwards.
  std::vector<uint32_t> run() {
    const auto n = static_cast<uint32_t>(lane_->steps.size());
    for (uint32_t i = 0; i < n; ++i) into_[i] = i;
    for (uint32_t i = 0; i < n; ++i) {
      if (removed_[i]) continue;
      Step& step = lane_->steps[i];
      if (step.op == Op::kReduce) join_receives(i);
      if (step.op == Op::kReduce || step.op == Op::kRecv || step.op == Op::kCopy) join_sends(i);
      mark_lent(lane_->steps[i]);
    }
    compact();
    return into_;
  }

 private:
  // dead_inputs_[i][k]: after step i nobody reads the k-th input's place before it is written
  // again. Found by walking backwards; results are read by the caller after the end, scratch is
  // not.
  void find_dead_inputs() {
    std::vector<bool> live(chunks_.size(), false);
    if (has_output(*s_, s_->rank)) {
      for (uint32_t c = 0; c < chunks_.num_outputs(); ++c) live[c] = true;
    }
    dead_inputs_.resize(lane_->steps.size());
    for (size_t i = lane_->steps.size(); i-- > 0;) {
      const Step& step = lane_->steps[i];
      if (step.op == Op::kOffer) continue;
      for (const Operand& o : s_->inputs(step)) {
        bool dead = true;
        chunks_.each(step, o, [&](uint32_t c) { dead = dead && !live[c] && !shared_[c]; });
        dead_inputs_[i].push_back(dead);
      }
      for (const Operand& o : s_->outputs(step)) {
        if (o.peer == kLocal) chunks_.each(step, o, [&](uint32_t c) { live[c] = false; });
      }
      for (const Operand& o : s_->inputs(step)) {
        if (o.peer == kLocal) chunks_.each(step, o, [&](uint32_t c) { live[c] = true; });
      }
    }
  }

  void mark_lent(const Step& step) {
    for (const Operand& o : s_->outputs(step)) {
      if (o.peer == kLocal || o.buffer == Buffer::kScratch) continue;
      chunks_.each(step, o, [&](uint32_t c) { lent_[c] = true; });
    }
  }

  bool writes_lent(const Step& step) const {
    bool lent = false;
    for (const Operand& o : s_->outputs(step)) {
      if (o.buffer == Buffer::kScratch) continue;
      chunks_.each(step, o, [&](uint32_t c) { lent = lent || lent_[c]; });
    }
    return lent;
  }

  void join_receives(uint32_t i) {
    Step& step = lane_->steps[i];
    if (writes_lent(step)) return;
    auto inputs = s_->inputs(step);
    // Receives directly before the step, nearest first.
    for (uint32_t j = i; j-- > 0;) {
      const Step& recv = lane_->steps[j];
      if (removed_[j]) continue;
      if (recv.op != Op::kRecv || recv.wait_lane != kNoLane || recv.n_out != 1) return;
      const Operand from = s_->inputs(recv)[0];
      for (size_t k = 0; k < inputs.size(); ++k) {
        Operand& input = inputs[k];
        const bool joins = input.peer == kLocal && input.buffer == Buffer::kScratch &&
                           same_place(input, from) && dead_inputs_[i][k] &&
                           recv.data_nchunks == step.data_nchunks && !has_peer(inputs, from.peer);
        if (!joins) continue;
        input.peer = from.peer;
        removed_[j] = true;
        into_[j] = i;
        break;
      }
      if (!removed_[j]) return;
    }
  }

  static bool has_peer(std::span<const Operand> operands, int32_t peer) {
    return std::any_of(operands.begin(), operands.end(),
                       [peer](const Operand& o) { return o.peer == peer; });
  }

  void join_sends(uint32_t i) {
    const Step made = lane_->steps[i];
    const Operand place = s_->outputs(made)[0];
    std::vector<Operand> sends;
    uint32_t last = i;
    for (uint32_t j = i + 1; j < lane_->steps.size(); ++j) {
      const Step& send = lane_->steps[j];
      if (send.op != Op::kSend || send.wait_lane != kNoLane ||
          send.data_nchunks != made.data_nchunks) {
        break;
      }
      const Operand to = s_->outputs(send)[0];
      if (!same_place(to, place) || has_peer(sends, to.peer)) break;
      sends.push_back(to);
      last = j;
    }
    if (sends.empty()) return;
    for (uint32_t j = i + 1; j <= last; ++j) {
      removed_[j] = true;
      into_[j] = i;
    }
    rewrite(i, sends, !dead_inputs_[last][0]);
  }

  // Gives step i the sends as further outputs; its operands move to the end of the arena.
  void rewrite(uint32_t i, const std::vector<Operand>& sends, bool keep) {
    Step& step = lane_->steps[i];
    const auto first = static_cast<uint32_t>(s_->operands.size());
    for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
      s_->operands.push_back(s_->operands[step.first + k]);
    }
    for (const Operand& o : sends) s_->operands.push_back(o);
    step.first = first;
    Operand& place = s_->operands[first + step.n_in];
    place.flags = keep ? kKeep : uint8_t{0};
    step.n_out = static_cast<uint16_t>(step.n_out + sends.size());
    if (step.op == Op::kRecv) step.op = Op::kCopy;
  }

  void compact() {
    std::vector<uint32_t> position(lane_->steps.size());
    uint32_t kept = 0;
    for (uint32_t i = 0; i < lane_->steps.size(); ++i) {
      if (removed_[i]) continue;
      position[i] = kept;
      lane_->steps[kept++] = lane_->steps[i];
    }
    lane_->steps.resize(kept);
    for (uint32_t& i : into_) i = position[i];
  }

  Schedule* s_;
  Lane* lane_;
  const ChunkMap& chunks_;
  const std::vector<bool>& shared_;  // chunks that several lanes touch
  std::vector<bool> removed_;
  std::vector<uint32_t> into_;
  std::vector<bool> lent_;
  std::vector<std::vector<bool>> dead_inputs_;
};

// Chunks that more than one lane touches: their liveness is not a lane's own business.
std::vector<bool> chunks_shared_by_lanes(const Schedule& s, const ChunkMap& chunks) {
  std::vector<bool> shared(chunks.size(), false);
  if (s.lanes.size() < 2) return shared;
  std::vector<int> owner(chunks.size(), -1);
  for (size_t l = 0; l < s.lanes.size(); ++l) {
    for (const Step& step : s.lanes[l].steps) {
      for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
        chunks.each(step, s.operands[step.first + k], [&](uint32_t c) {
          shared[c] = shared[c] || (owner[c] >= 0 && owner[c] != static_cast<int>(l));
          owner[c] = static_cast<int>(l);
        });
      }
    }
  }
  return shared;
}

}  // namespace

void fuse(Schedule* s) {
  const ChunkMap chunks(*s);
  const std::vector<bool> shared = chunks_shared_by_lanes(*s, chunks);
  std::vector<std::vector<uint32_t>> into;
  for (Lane& lane : s->lanes) into.push_back(LaneFuser(s, &lane, chunks, shared).run());
  for (Lane& lane : s->lanes) {
    for (Step& step : lane.steps) {
      if (step.wait_lane != kNoLane) step.wait_step = into[step.wait_lane][step.wait_step];
    }
  }
}

}  // namespace tutti
