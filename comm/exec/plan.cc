#include "comm/exec/plan.h"

#include <algorithm>
#include <map>
#include <span>
#include <tuple>
#include <utility>

#include "comm/schedule/places.h"

namespace tutti {

Result<std::unique_ptr<Plan>> Plan::bind(const Schedule& schedule, const DataLayout& layout,
                                         const Capabilities& capabilities,
                                         ChannelSource& channels) {
  std::unique_ptr<Plan> plan(new Plan(schedule, layout, capabilities));
  TUTTI_TRY(plan->bind_channels(channels));
  plan->find_lent();
  for (uint32_t lane = 0; lane < plan->lanes.size(); ++lane) plan->bind_round(lane, 0);
  return plan;
}

// Steps and operands in lane order, with channels, message numbers and room for their parts.
Status Plan::bind_channels(ChannelSource& source) {
  for (uint32_t l = 0; l < schedule.lanes.size(); ++l) {
    std::map<int, uint32_t> send_of_peer;
    std::map<int, uint32_t> recv_of_peer;
    const auto num_steps = static_cast<uint32_t>(schedule.lanes[l].steps.size());
    BoundLane lane{};
    lane.first_step = static_cast<uint32_t>(steps.size());
    lane.num_steps = num_steps;
    lanes.push_back(lane);
    for (const Step& s : schedule.lanes[l].steps) {
      const auto first = static_cast<uint32_t>(operands.size());
      steps.push_back({s.op, s.flags, s.n_in, s.n_out, s.wait_lane, s.wait_step, first, 0, 0,
                       s.ordinal, 0, false});
      most_operands = std::max<uint32_t>(most_operands, uint32_t{s.n_in} + s.n_out);
      for (uint32_t k = 0; k < uint32_t{s.n_in} + s.n_out; ++k) {
        const Operand& o = schedule.operands[s.first + k];
        BoundOperand bound{o.buffer, o.flags, kNoChannel, 0, static_cast<uint32_t>(parts.size()),
                           0,        nullptr};
        parts.resize(parts.size() + std::max<uint32_t>(1, s.data_nchunks));
        if (o.peer != kLocal && (k < s.n_in || s.op == Op::kOffer)) {
          auto [it, fresh] = recv_of_peer.try_emplace(o.peer, static_cast<uint32_t>(recvs.size()));
          if (fresh) {
            Result<RecvChannel*> channel = source.recv_channel(o.peer, l);
            if (!channel.ok()) return channel.status();
            recvs.push_back({channel.value(), o.peer, 0});
          }
          bound.channel = it->second;
          if (s.op != Op::kOffer) bound.message = recvs[it->second].per_round++;
        } else if (o.peer != kLocal) {
          auto [it, fresh] = send_of_peer.try_emplace(o.peer, static_cast<uint32_t>(sends.size()));
          if (fresh) {
            Result<SendChannel*> channel = source.send_channel(o.peer, l);
            if (!channel.ok()) return channel.status();
            sends.push_back({channel.value(), o.peer, 0});
          }
          bound.channel = it->second;
          bound.message = sends[it->second].per_round++;
        }
        operands.push_back(bound);
      }
    }
  }
  iovecs.resize(parts.size());
  return Status();
}

namespace {

// Collects, for the steps of one lane, which messages a writing step must wait for. Lanes are
// walked twice, the second time as the next round, which shares the scratch (but not the data) of
// the first. Within a channel messages are given back in order, so the last one is enough.
class LoanTracker {
 public:
  explicit LoanTracker(const Schedule& s) : chunks_(s), loans_(chunks_.size()) {}

  // The loans on everything `step` writes; they are over once the step has waited for them.
  std::vector<Lent> collect(const Schedule& schedule, const Step& step) {
    std::vector<Lent> found;
    if (step.op == Op::kSend || step.op == Op::kOffer) return found;
    for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
      const Operand& o = schedule.operands[step.first + k];
      if (k < step.n_in && o.peer == kLocal) continue;  // read only
      chunks_.each(step, o, [&](uint32_t c) {
        found.insert(found.end(), loans_[c].begin(), loans_[c].end());
        loans_[c].clear();
      });
    }
    return last_of_each_channel(std::move(found));
  }

  void lend(const Step& step, const Operand& operand, const BoundOperand& bound) {
    chunks_.each(step, operand, [&](uint32_t c) {
      loans_[c].push_back({bound.channel, bound.message, false});
    });
  }

  void next_round() {
    const uint32_t first_scratch = chunks_.number(Buffer::kScratch, 0);
    for (uint32_t c = 0; c < loans_.size(); ++c) {
      if (c < first_scratch) loans_[c].clear();
      for (Lent& loan : loans_[c]) loan.previous_round = true;
    }
  }

 private:
  static std::vector<Lent> last_of_each_channel(std::vector<Lent> all) {
    // A message of this round comes after all of the previous one.
    std::sort(all.begin(), all.end(), [](const Lent& a, const Lent& b) {
      return std::make_tuple(a.channel, a.previous_round, ~a.message) <
             std::make_tuple(b.channel, b.previous_round, ~b.message);
    });
    const auto same = [](const Lent& a, const Lent& b) { return a.channel == b.channel; };
    all.erase(std::unique(all.begin(), all.end(), same), all.end());
    return all;
  }

  ChunkMap chunks_;
  std::vector<std::vector<Lent>> loans_;
};

}  // namespace

void Plan::find_lent() {
  for (uint32_t l = 0; l < schedule.lanes.size(); ++l) {
    LoanTracker tracker(schedule);
    for (int pass = 0; pass < 2; ++pass) {
      for (uint32_t i = 0; i < lanes[l].num_steps; ++i) {
        const Step& step = schedule.lanes[l].steps[i];
        BoundStep& bound = steps[lanes[l].first_step + i];
        const std::vector<Lent> found = tracker.collect(schedule, step);
        if (pass == 1) {
          bound.first_lent = static_cast<uint32_t>(lent.size());
          bound.num_lent = static_cast<uint32_t>(found.size());
          lent.insert(lent.end(), found.begin(), found.end());
        }
        if (step.op == Op::kOffer) continue;
        for (uint32_t k = step.n_in; k < uint32_t{step.n_in} + step.n_out; ++k) {
          const Operand& o = schedule.operands[step.first + k];
          if (o.peer != kLocal) tracker.lend(step, o, operands[bound.first + k]);
        }
      }
      tracker.next_round();
    }
  }
}

void Plan::bind_operand(const Step& step, const Operand& operand, BoundOperand* bound,
                        uint32_t round) {
  bound->num_parts = 0;
  for (uint32_t i = 0; i < step.data_nchunks; ++i) {
    const Extent data = layout.chunk(step.data_buffer, step.data_chunk + i, round);
    Extent place = operand.buffer == Buffer::kScratch
                       ? Extent{(operand.chunk + i) * layout.slot_bytes(), data.bytes}
                       : layout.chunk(operand.buffer, operand.chunk + i, round);
    if (place.bytes == 0) continue;
    Extent* parts_of = parts.data() + bound->first_part;
    if (bound->num_parts > 0) {
      Extent& last = parts_of[bound->num_parts - 1];
      if (last.offset + last.bytes == place.offset) {
        last.bytes += place.bytes;
        continue;
      }
    }
    parts_of[bound->num_parts++] = place;
  }
}

void Plan::bind_round(uint32_t lane, uint32_t round) {
  const std::vector<Step>& plain = schedule.lanes[lane].steps;
  for (uint32_t i = 0; i < plain.size(); ++i) {
    const Step& s = plain[i];
    BoundStep& bound = steps[lanes[lane].first_step + i];
    bound.bytes = 0;
    for (uint32_t c = 0; c < s.data_nchunks; ++c) {
      bound.bytes += layout.chunk(s.data_buffer, s.data_chunk + c, round).bytes;
    }
    for (uint32_t k = 0; k < uint32_t{s.n_in} + s.n_out; ++k) {
      bind_operand(s, schedule.operands[s.first + k], &operands[bound.first + k], round);
    }
    const auto ends = std::span(operands).subspan(bound.first, size_t{s.n_in} + s.n_out);
    bound.local = std::all_of(ends.begin(), ends.end(), [](const BoundOperand& o) {
      return o.channel == kNoChannel && o.num_parts <= 1;
    });
  }
}

}  // namespace tutti
