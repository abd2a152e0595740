#include "comm/verify/run.h"

#include <algorithm>

namespace tutti {

namespace {
using Kind = Defect::Kind;
}  // namespace

std::optional<Defect> Run::run(const World& world, const VerifyOptions& options, bool record) {
  world_ = &world;
  slots_ = std::max(options.slots, 1u);
  rounds_ = static_cast<uint32_t>(std::clamp(options.rounds, 1, 16));
  record_ = record;
  reset();
  while (!queue_.empty() && !defect_) {
    const uint32_t lane = queue_.back();
    queue_.pop_back();
    lanes_[lane].queued = false;
    advance(lane);
  }
  if (!defect_) report_deadlock();
  if (!defect_) check_results();
  if (!defect_ && words_ > 0) check_barrier();
  return defect_;
}

void Run::reset() {
  const World& w = *world_;
  of_rows_ = !w.rows.empty();
  defect_.reset();
  reset_cells();
  order_.reset(w, first_cell_, static_cast<int>(rounds_));
  posted_.assign(w.channels.size(), 0);
  consumed_.assign(w.channels.size(), 0);
  known_consumed_.assign(w.channels.size(), 0);
  lanes_.assign(w.lanes.size(), LaneState());
  queue_.clear();
  // The first lane runs first: what it lacks is then more often told as what it is.
  for (auto l = static_cast<uint32_t>(w.lanes.size()); l-- > 0;) {
    queue_.push_back(l);
    lanes_[l].queued = true;
  }
  const bool barrier = !of_rows_ && w.collective == Collective::kBarrier;
  words_ = barrier ? (static_cast<uint32_t>(w.nranks) + 63) / 64 : 0;
  lane_knows_.assign(w.lanes.size() * words_, 0);
  message_knows_.assign(w.messages.size() * words_ * rounds_, 0);
  rank_knows_.assign(w.ranks.size() * words_ * rounds_, 0);
  for (uint32_t l = 0; words_ > 0 && l < w.lanes.size(); ++l) {
    const uint32_t rank = w.lanes[l].rank;
    lane_knows_[uint64_t{l} * words_ + rank / 64] |= uint64_t{1} << (rank % 64);
  }
}

void Run::reset_cells() {
  const World& w = *world_;
  first_cell_.resize(w.ranks.size() + 1);
  uint64_t total = 0;
  for (size_t r = 0; r < w.ranks.size(); ++r) {
    first_cell_[r] = total;
    total += uint64_t{rounds_} * w.ranks[r].data_cells + w.ranks[r].scratch_cells;
  }
  first_cell_[w.ranks.size()] = total;
  cells_.assign(total, Cell());
  expressions_ = Expressions();
  writers_.assign(record_ ? total : 0, Writer());
  if (of_rows_) return reset_rows();
  for (uint32_t r = 0; r < w.ranks.size(); ++r) {
    for (uint32_t round = 0; round < rounds_; ++round) {
      for (uint32_t i = 0; i < w.ranks[r].num_inputs; ++i) {
        Cell& c = cells_[cell_at(r, w.ranks[r].input_base + i, round)];
        c.value = contribution(round, r, i);
        if (record_) c.value.expression = expressions_.contribution(round, r, i);
        c.round = static_cast<uint16_t>(round);
        c.written = true;
      }
    }
  }
}

void Run::advance(uint32_t lane) {
  LaneState& st = lanes_[lane];
  const WorldLane& l = world_->lanes[lane];
  while (!st.finished) {
    if (st.step == l.num_steps) {
      finish_round(lane);
      continue;
    }
    if (!can_start(lane) || !execute(lane)) return;
    const uint32_t snapshot = world_->steps[l.first_step + st.step].snapshot;
    if (watched(l.rank)) order_.finish_step(lane, snapshot, st.round);
    ++st.step;
    st.cursor = 0;
    if (snapshot == kNothing) continue;
    const WorldRank& rank = world_->ranks[l.rank];
    for (uint32_t other = rank.first_lane; other < rank.first_lane + rank.num_lanes; ++other) {
      wake(other, Wait::kStep, lane);
    }
  }
}

void Run::finish_round(uint32_t lane) {
  LaneState& st = lanes_[lane];
  const uint32_t rank = world_->lanes[lane].rank;
  for (uint32_t i = 0; i < words_; ++i) {
    uint64_t& knows = lane_knows_[uint64_t{lane} * words_ + i];
    rank_knows_[(uint64_t{rank} * rounds_ + st.round) * words_ + i] |= knows;
    knows = i == rank / 64 ? uint64_t{1} << (rank % 64) : 0;
  }
  st.step = 0;
  if (++st.round == rounds_) st.finished = true;
}

bool Run::block(uint32_t lane, Wait wait, uint64_t wait_for) {
  lanes_[lane].wait = wait;
  lanes_[lane].wait_for = wait_for;
  return false;
}

void Run::wake(uint32_t lane, Wait wait, uint64_t wait_for) {
  LaneState& st = lanes_[lane];
  if (st.wait != wait || st.wait_for != wait_for || st.queued) return;
  st.queued = true;
  queue_.push_back(lane);
}

// Conditions only ever become true while a lane waits, so those found true are not asked again.
bool Run::can_start(uint32_t lane) {
  LaneState& st = lanes_[lane];
  const WorldLane& l = world_->lanes[lane];
  const WorldStep& step = world_->steps[l.first_step + st.step];
  if (st.cursor == 0) {
    if (step.wait_lane != kNothing) {
      const LaneState& other = lanes_[step.wait_lane];
      const bool over =
          other.round > st.round || (other.round == st.round && other.step > step.wait_step);
      if (!over) return block(lane, Wait::kStep, step.wait_lane);
      const WorldLane& awaited = world_->lanes[step.wait_lane];
      order_.join(lane, world_->steps[awaited.first_step + step.wait_step].snapshot, st.round);
    }
    st.cursor = 1;
  }
  const uint32_t arity = step.op == Op::kOffer ? 0 : uint32_t{step.n_in} + step.n_out;
  for (; st.cursor <= arity; ++st.cursor) {
    if (!operand_ready(lane, step, st.cursor - 1)) return false;
  }
  st.wait = Wait::kNone;
  return true;
}

bool Run::operand_ready(uint32_t lane, const WorldStep& step, uint32_t k) {
  const WorldOperand& o = world_->operands[step.first + k];
  const uint32_t round = lanes_[lane].round;
  if (o.channel != kNothing) {
    const uint32_t count = message_count(o.message, o.channel, round);
    if (k < step.n_in) {
      if (posted_[o.channel] <= count) return block(lane, Wait::kMessage, o.channel);
    } else if (count - consumed_[o.channel] >= slots_) {
      return block(lane, Wait::kSlot, o.channel);
    }
  }
  if ((o.flags & (k < step.n_in ? kLands : kWrites)) == 0 || step.op == Op::kSend) return true;
  bool ready = true;
  each_cell(world_->lanes[lane].rank, o.cell, step.nchunks, round, [&](uint64_t c) {
    if (cells_[c].lent > 0) ready = block(lane, Wait::kLent, c);
    return ready;
  });
  return ready;
}

bool Run::execute(uint32_t lane) {
  const WorldLane& l = world_->lanes[lane];
  const WorldStep& step = world_->steps[l.first_step + lanes_[lane].step];
  if (step.op == Op::kOffer) return open_window(lane);
  if (of_rows_) return execute_rows(lane, step);
  const WorldOperand* in = &world_->operands[step.first];
  const WorldOperand* out = in + step.n_in;
  for (uint32_t k = 0; k < step.nchunks; ++k) {
    Value value;
    if (!gather(lane, step, k, &value)) return false;
    if (step.op == Op::kSend) continue;
    for (uint32_t i = 0; i < step.n_in; ++i) {
      if ((in[i].flags & kLands) != 0 && !land(lane, in[i], in[i].cell + k)) return false;
    }
    for (uint32_t i = 0; i < step.n_out; ++i) {
      if ((out[i].flags & kWrites) != 0 && !store(lane, out[i], out[i].cell + k, value)) {
        return false;
      }
    }
  }
  finish_messages(lane, step);
  return true;
}

void Run::finish_messages(uint32_t lane, const WorldStep& step) {
  const WorldOperand* in = &world_->operands[step.first];
  const WorldOperand* out = in + step.n_in;
  for (uint32_t i = 0; i < step.n_in; ++i) {
    if (in[i].channel != kNothing) consume(lane, in[i]);
  }
  for (uint32_t i = 0; i < step.n_out; ++i) {
    if (out[i].channel != kNothing) post(lane, out[i], step.nchunks);
  }
}

bool Run::gather(uint32_t lane, const WorldStep& step, uint32_t k, Value* value) {
  const WorldOperand* in = &world_->operands[step.first];
  if (step.op != Op::kReduce) {
    const Value* v = read(lane, in[0], k);
    if (v == nullptr) return false;
    *value = *v;
    return true;
  }
  Folding folding(step.n_in);
  terms_.clear();
  for (uint32_t i = 0; i < step.n_in; ++i) {
    const Value* v = read(lane, in[i], k);
    if (v == nullptr) return false;
    if (v->final) {
      return fail(Kind::kNotFinal, lane, in[i].cell + k, "operands that are not final yet",
                  "an operand that a final reduction made");
    }
    folding.add(*v);
    if (record_) terms_.push_back(v->expression);
  }
  *value = folding.value();
  value->final = (step.flags & kFinal) != 0;
  if (record_) value->expression = expressions_.fold(terms_);
  return true;
}

// A message is read where the sender lent it: nobody may have changed it since it was posted.
const Value* Run::read(uint32_t lane, const WorldOperand& o, uint32_t k) {
  const uint32_t round = lanes_[lane].round;
  if (o.channel != kNothing && (o.flags & kLands) != 0) {
    const WorldMessage& m = world_->messages[o.message];
    return &cells_[cell_at(world_->channels[o.channel].from_rank, m.cell, round) + k].value;
  }
  return read_cell(lane, o.cell + k);
}

const Value* Run::read_cell(uint32_t lane, uint32_t cell) {
  const uint32_t round = lanes_[lane].round;
  const uint32_t rank = world_->lanes[lane].rank;
  const uint64_t index = cell_at(rank, cell, round);
  const Cell& c = cells_[index];
  if (c.offer != 0) {
    fail_offered(lane, cell, c.offer - 1, "reads");
    return nullptr;
  }
  if (watched(rank)) {
    const uint32_t other = order_.read(lane, index);
    if (other != kNothing) {
      fail_race(lane, cell, other, "reads");
      return nullptr;
    }
  }
  if (!c.written || c.round != round) {
    fail(Kind::kUnwrittenRead, lane, cell,
         of_rows_ ? "a row written in this round" : "a chunk written in this round",
         c.written ? "one written in round " + std::to_string(c.round + 1)
                   : "one that nothing was written to, or whose content was given up");
    return nullptr;
  }
  return &c.value;
}

bool Run::land(uint32_t lane, const WorldOperand& o, uint32_t cell) {
  const uint32_t rank = world_->lanes[lane].rank;
  const uint64_t index = cell_at(rank, cell, lanes_[lane].round);
  Cell& c = cells_[index];
  if (c.offer != 0) {
    if (c.offer - 1 != world_->messages[o.message].offer) {
      return fail_offered(lane, cell, c.offer - 1, "receives into");
    }
    c.offer = 0;
  }
  if (watched(rank)) {
    const uint32_t other = order_.write(lane, index);
    if (other != kNothing) return fail_race(lane, cell, other, "receives into");
  }
  c.written = false;
  c.touched = true;
  c.lent_channel = kNothing;
  return true;
}

bool Run::store(uint32_t lane, const WorldOperand& o, uint32_t cell, const Value& value) {
  const uint32_t rank = world_->lanes[lane].rank;
  const uint64_t index = cell_at(rank, cell, lanes_[lane].round);
  Cell& c = cells_[index];
  if (c.offer != 0) return fail_offered(lane, cell, c.offer - 1, "writes");
  if (watched(rank)) {
    const uint32_t other = order_.write(lane, index);
    if (other != kNothing) return fail_race(lane, cell, other, "writes");
  }
  c.value = value;
  c.round = static_cast<uint16_t>(lanes_[lane].round);
  c.written = (o.flags & kDefines) != 0;
  c.touched = true;
  c.lent_channel = kNothing;
  if (record_) writers_[index] = {lane, lanes_[lane].step};
  return true;
}

void Run::consume(uint32_t lane, const WorldOperand& o) {
  const WorldChannel& channel = world_->channels[o.channel];
  const WorldMessage& m = world_->messages[o.message];
  const uint32_t round = lanes_[lane].round;
  ++consumed_[o.channel];
  each_cell(channel.from_rank, m.cell, m.nchunks, round, [&](uint64_t c) {
    --cells_[c].lent;
    return true;
  });
  const uint32_t back = o.channel ^ 1;
  known_consumed_[back] =
      std::max(known_consumed_[back], round * world_->channels[back].sent + m.acks);
  for (uint32_t i = 0; i < words_; ++i) {
    lane_knows_[uint64_t{lane} * words_ + i] |=
        message_knows_[(uint64_t{o.message} * rounds_ + round) * words_ + i];
  }
  wake(channel.from_lane, Wait::kSlot, o.channel);
  const WorldRank& sender = world_->ranks[channel.from_rank];
  for (uint32_t l = sender.first_lane; l < sender.first_lane + sender.num_lanes; ++l) {
    if (lanes_[l].wait == Wait::kLent) wake(l, Wait::kLent, lanes_[l].wait_for);
  }
}

void Run::post(uint32_t lane, const WorldOperand& o, uint32_t nchunks) {
  const WorldLane& l = world_->lanes[lane];
  const uint32_t round = lanes_[lane].round;
  const uint32_t count = message_count(o.message, o.channel, round);
  each_cell(l.rank, o.cell, nchunks, round, [&](uint64_t c) {
    lend(lane, &cells_[c], o.channel, count);
    if (watched(l.rank)) order_.lend(lane, c);
    return true;
  });
  for (uint32_t i = 0; i < words_; ++i) {
    message_knows_[(uint64_t{o.message} * rounds_ + round) * words_ + i] =
        lane_knows_[uint64_t{lane} * words_ + i];
  }
  ++posted_[o.channel];
  wake(world_->channels[o.channel].to_lane, Wait::kMessage, o.channel);
}

// A cell lent on one channel after another counts as lent on the last alone when the lane knows
// that the one before is over.
void Run::lend(uint32_t lane, Cell* cell, uint32_t channel, uint32_t count) {
  const uint32_t before = cell->lent_channel;
  ++cell->lent;
  if (before == kNothing || before == channel ||
      (before != kMany && world_->channels[before].from_lane == lane &&
       known_consumed_[before] > cell->lent_message)) {
    cell->lent_channel = channel;
    cell->lent_message = count;
  } else {
    cell->lent_channel = kMany;
  }
}

}  // namespace tutti
