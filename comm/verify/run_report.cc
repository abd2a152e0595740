// Run, continued: the verdict. What every output must hold in the end, and the words for what went
// wrong on the way.
#include <algorithm>

#include "comm/schedule/contract.h"
#include "comm/verify/report.h"
#include "comm/verify/run.h"

namespace tutti {

namespace {
using Kind = Defect::Kind;
constexpr size_t kMaxChain = 8;  // waits named in a deadlock
}  // namespace

bool Run::fail(Kind kind, uint32_t lane, uint32_t cell, std::string expected, std::string got) {
  const WorldLane& l = world_->lanes[lane];
  Defect d = defect_at(kind, static_cast<int>(l.rank), l.index, lanes_[lane].step,
                       std::move(expected), std::move(got));
  d.place = world_->cell_name(l.rank, cell, &d.chunk);
  d.round = static_cast<int>(lanes_[lane].round);
  defect_ = std::move(d);
  return false;
}

bool Run::fail_race(uint32_t lane, uint32_t cell, uint32_t other_lane, const char* access) {
  return fail(Kind::kRace, lane, cell, "an order between the lanes that use it",
              "lane " + std::to_string(world_->lanes[lane].index) + " " + access + " it, lane " +
                  std::to_string(other_lane) +
                  " uses or lends it, and neither waits for the other");
}

// The message that borrows the cell a lane wants to write.
const WorldChannel* Run::borrower(uint32_t lane, uint64_t cell) const {
  const uint32_t rank = world_->lanes[lane].rank;
  for (uint32_t c = 0; c < world_->channels.size(); ++c) {
    const WorldChannel& channel = world_->channels[c];
    if (channel.from_rank != rank) continue;
    for (uint32_t j = consumed_[c]; j < posted_[c]; ++j) {
      const WorldMessage& m = world_->messages[channel.first_message + j % channel.sent];
      bool lends = false;
      each_cell(rank, m.cell, m.nchunks, j / channel.sent, [&](uint64_t lent) {
        lends = lent == cell;
        return !lends;
      });
      if (lends) return &channel;
    }
  }
  return nullptr;
}

uint32_t Run::waits_on(uint32_t lane) const {
  const LaneState& st = lanes_[lane];
  switch (st.wait) {
    case Wait::kMessage:
      return world_->channels[st.wait_for].from_lane;
    case Wait::kSlot:
      return world_->channels[st.wait_for].to_lane;
    case Wait::kStep:
      return static_cast<uint32_t>(st.wait_for);
    case Wait::kLent: {
      const WorldChannel* channel = borrower(lane, st.wait_for);
      return channel == nullptr ? kNothing : channel->to_lane;
    }
    case Wait::kNone:
      break;
  }
  return kNothing;
}

std::string Run::wait_text(uint32_t lane) const {
  const LaneState& st = lanes_[lane];
  const WorldLane& l = world_->lanes[lane];
  std::string out = "rank " + std::to_string(l.rank);
  if (world_->ranks[l.rank].num_lanes > 1) out += " lane " + std::to_string(l.index);
  out += " step " + std::to_string(st.step) + " waits for ";
  switch (st.wait) {
    case Wait::kMessage:
      return out + "a message from rank " + std::to_string(world_->channels[st.wait_for].from_rank);
    case Wait::kSlot:
      return out + "a free slot on its channel to rank " +
             std::to_string(world_->channels[st.wait_for].to_rank);
    case Wait::kStep:
      return out + "lane " + std::to_string(world_->lanes[st.wait_for].index);
    case Wait::kLent: {
      const WorldChannel* channel = borrower(lane, st.wait_for);
      return out + "rank " + (channel ? std::to_string(channel->to_rank) : "?") +
             " to consume what it was lent";
    }
    case Wait::kNone:
      break;
  }
  return out + "nothing";
}

void Run::report_deadlock() {
  uint32_t lane = 0;
  while (lane < lanes_.size() && lanes_[lane].finished) ++lane;
  if (lane == lanes_.size()) return;
  // Every waiting lane waits on a waiting lane: following them ends in a circle.
  std::vector<bool> seen(lanes_.size(), false);
  while (!seen[lane] && waits_on(lane) != kNothing) {
    seen[lane] = true;
    lane = waits_on(lane);
  }
  const LaneState& st = lanes_[lane];
  const WorldLane& l = world_->lanes[lane];
  Defect d = defect_at(Kind::kDeadlock, static_cast<int>(l.rank), l.index, st.step,
                       "every lane to end, with " + std::to_string(slots_) +
                           (slots_ == 1 ? " slot" : " slots") + " a channel",
                       "");
  d.round = static_cast<int>(st.round);
  uint32_t at = lane;
  for (size_t i = 0; i < kMaxChain && at != kNothing; ++i) {
    d.got += (i == 0 ? "" : "; ") + wait_text(at);
    at = waits_on(at);
    if (at == lane) {
      d.got += "; and so round";
      break;
    }
    if (i + 1 == kMaxChain) d.got += "; ...";
  }
  defect_ = std::move(d);
}

std::string Run::contents(const Cell& cell, uint32_t round) const {
  if (!cell.written) return "nothing";
  return record_ ? expressions_.contents(cell.value.expression, round) : "something else";
}

void Run::check_results() {
  const World& w = *world_;
  if (of_rows_) return check_rows();
  const bool reduces = is_reduction(w.collective);
  const uint32_t num_inputs = w.ranks[0].num_inputs;  // a reduction: the same on all ranks
  expected_sums_.assign(reduces ? uint64_t{num_inputs} * rounds_ : 0, 0);
  for (uint32_t round = 0; reduces && round < rounds_; ++round) {
    for (uint32_t i = 0; i < num_inputs; ++i) {
      uint64_t& sum = expected_sums_[uint64_t{round} * num_inputs + i];
      for (uint32_t r = 0; r < w.ranks.size(); ++r) sum += contribution(round, r, i).sum;
    }
  }
  size_t next = 0;
  for (uint32_t r = 0; r < w.ranks.size(); ++r) {
    for (uint32_t c = 0; c < w.ranks[r].num_outputs; ++c, ++next) {
      for (uint32_t round = 0; round < rounds_; ++round) {
        check_chunk(r, round, c, w.promises[next]);
        if (defect_) return;
      }
    }
  }
}

void Run::check_chunk(uint32_t rank, uint32_t round, uint32_t chunk, const Promise& promise) {
  const World& w = *world_;
  const uint64_t index = cell_at(rank, w.ranks[rank].output_base + chunk, round);
  const Cell& cell = cells_[index];
  const bool reduced = promise.kind == Promise::Kind::kReduced;
  const auto fail_result = [&](Kind kind, std::string expected, std::string got) {
    Defect d = defect(kind, static_cast<int>(rank), std::move(expected), std::move(got));
    d.place = "output[" + std::to_string(chunk) + "]";
    d.chunk = chunk;
    d.round = static_cast<int>(round);
    if (record_ && writers_[index].lane != kNothing) {
      d.lane = w.lanes[writers_[index].lane].index;
      d.step = writers_[index].step;
    }
    defect_ = std::move(d);
  };
  const uint64_t sum =
      reduced ? expected_sums_[uint64_t{round} * w.ranks[0].num_inputs + promise.input_chunk]
              : contribution(round, static_cast<uint32_t>(promise.from), promise.input_chunk).sum;
  if (!cell.written || cell.value.sum != sum) {
    return fail_result(Kind::kWrongResult,
                       reduced ? Expressions::sum_over_all(w.nranks, promise.input_chunk)
                               : "rank " + std::to_string(promise.from) + "'s input[" +
                                     std::to_string(promise.input_chunk) + "]",
                       contents(cell, round));
  }
  if (cell.value.final != reduced) {
    return fail_result(Kind::kNotFinal,
                       reduced ? "a final reduction" : "a copy that no reduction touched",
                       reduced ? "a reduction that is not marked final" : "a final reduction");
  }
  if (w.collective != Collective::kAllReduce) return;
  const Cell& first = cells_[cell_at(0, w.ranks[0].output_base + chunk, round)];
  if (cell.value.order == first.value.order) return;
  fail_result(Kind::kReductionOrder,
              "the order of rank 0" +
                  (record_ ? ": " + expressions_.order(first.value.expression) : std::string()),
              record_ ? expressions_.order(cell.value.expression) : "another order");
}

void Run::check_barrier() {
  for (uint32_t r = 0; r < world_->ranks.size(); ++r) {
    for (uint32_t round = 0; round < rounds_; ++round) {
      const uint64_t* knows = &rank_knows_[(uint64_t{r} * rounds_ + round) * words_];
      for (uint32_t other = 0; other < world_->ranks.size(); ++other) {
        if ((knows[other / 64] >> (other % 64) & 1) != 0) continue;
        defect_ =
            defect(Kind::kBarrierLeak, static_cast<int>(r), "to leave after every rank has entered",
                   "it can leave before rank " + std::to_string(other) + " enters");
        defect_->round = static_cast<int>(round);
        return;
      }
    }
  }
}

}  // namespace tutti
