// World, continued: joins what ranks send to what their peers receive, and checks the offers, whose
// claims are about the order of steps in lanes and so need no run.
#include <algorithm>

#include "comm/verify/report.h"
#include "comm/verify/world.h"

namespace tutti {

namespace {
using Kind = Defect::Kind;

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 31)) * 0x7fb5d329728ea185ull;
  return x ^ (x >> 29);
}

std::string messages_text(uint64_t count, uint32_t from, uint32_t to) {
  return std::to_string(count) + (count == 1 ? " message" : " messages") + " from rank " +
         std::to_string(from) + " to rank " + std::to_string(to);
}
}  // namespace

// The channel from -> to of one lane; made, with its counterpart, when it is first named.
uint32_t World::channel_to(uint32_t lane, uint32_t from, uint32_t to) {
  if (channel_table_.size() < channels.size() + 64) {
    channel_table_.assign(std::max<size_t>(1024, channel_table_.size() * 4), 0);
    for (uint32_t c = 0; c < channels.size(); c += 2) {
      const WorldChannel& ch = channels[c];
      size_t at = mix((uint64_t{ch.lane} << 48) ^ (uint64_t{ch.from_rank} << 24) ^ ch.to_rank);
      while (channel_table_[at & (channel_table_.size() - 1)] != 0) ++at;
      channel_table_[at & (channel_table_.size() - 1)] = c / 2 + 1;
    }
  }
  const uint32_t low = std::min(from, to);
  const uint32_t high = std::max(from, to);
  size_t at = mix((uint64_t{lane} << 48) ^ (uint64_t{low} << 24) ^ high);
  for (;; ++at) {
    uint32_t& entry = channel_table_[at & (channel_table_.size() - 1)];
    if (entry == 0) {
      entry = static_cast<uint32_t>(channels.size() / 2 + 1);
      channels.push_back({low, high, lane, kNothing, kNothing, 0, 0, 0});
      channels.push_back({high, low, lane, kNothing, kNothing, 0, 0, 0});
    }
    const uint32_t c = (entry - 1) * 2;
    if (channels[c].lane != lane || channels[c].from_rank != low || channels[c].to_rank != high) {
      continue;
    }
    return from == low ? c : c + 1;
  }
}

void World::match_messages() {
  for (const WorldStep& step : steps) {
    if (step.op == Op::kOffer) continue;
    const WorldOperand* o = &operands[step.first];
    for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k, ++o) {
      if (o->channel == kNothing) continue;
      ++(k < step.n_in ? channels[o->channel].received : channels[o->channel].sent);
    }
  }
  uint32_t total = 0;
  for (WorldChannel& c : channels) {
    c.first_message = total;
    total += std::max(c.sent, c.received);
    const WorldRank& from = ranks[c.from_rank];
    const WorldRank& to = ranks[c.to_rank];
    if (c.lane < from.num_lanes) c.from_lane = from.first_lane + c.lane;
    if (c.lane < to.num_lanes) c.to_lane = to.first_lane + c.lane;
  }
  WorldMessage empty{};
  empty.send_step = kNothing;
  empty.receive_step = kNothing;
  empty.offer = kNothing;
  messages.assign(total, empty);
  sent_.assign(channels.size(), 0);
  received_.assign(channels.size(), 0);
  for (uint32_t l = 0; l < lanes.size(); ++l) match_lane(l);
}

void World::match_lane(uint32_t lane) {
  for (uint32_t i = 0; i < lanes[lane].num_steps; ++i) {
    const WorldStep& step = steps[lanes[lane].first_step + i];
    if (step.op == Op::kOffer) {
      const WorldOperand& o = operands[step.first];
      offers.push_back({lane, i, o.channel, o.message, o.cell, step.nchunks, sent_[o.channel ^ 1],
                        received_[o.channel]});
      continue;
    }
    for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
      WorldOperand& o = operands[step.first + k];
      if (o.channel == kNothing) continue;
      const bool output = k >= step.n_in;
      const uint32_t size =
          rows.empty() ? step.nchunks : static_cast<uint32_t>(rows.cells(o.cell).size());
      uint32_t& count = output ? sent_[o.channel] : received_[o.channel];
      o.message = channels[o.channel].first_message + count++;
      WorldMessage& m = messages[o.message];
      m.channel = o.channel;
      if (output) {
        m.cell = o.cell;
        m.nchunks = size;
        m.send_step = i;
        m.acks = received_[o.channel ^ 1];
        m.size_key = size_keys_[step.first + k];
      } else {
        m.receive_cell = o.cell;
        m.receive_nchunks = size;
        m.receive_step = i;
        m.reply = (o.flags & kReply) != 0;
        m.receive_size_key = size_keys_[step.first + k];
      }
    }
  }
}

World::Found World::check_messages() const {
  const std::string unit = rows.empty() ? " chunks" : " rows";
  for (const WorldMessage& m : messages) {
    const WorldChannel& c = channels[m.channel];
    if (m.send_step == kNothing) {
      return defect_at(Kind::kUnmatched, static_cast<int>(c.to_rank), c.lane, m.receive_step,
                       messages_text(c.received, c.from_rank, c.to_rank),
                       std::to_string(c.sent) + " sent");
    }
    if (m.receive_step == kNothing) {
      return defect_at(Kind::kUnmatched, static_cast<int>(c.from_rank), c.lane, m.send_step,
                       messages_text(c.sent, c.from_rank, c.to_rank),
                       std::to_string(c.received) + " received");
    }
    if (m.nchunks != m.receive_nchunks) {
      return defect_at(Kind::kUnmatched, static_cast<int>(c.to_rank), c.lane, m.receive_step,
                       std::to_string(m.nchunks) + unit + ", as rank " +
                           std::to_string(c.from_rank) + " sends in its step " +
                           std::to_string(m.send_step),
                       std::to_string(m.receive_nchunks) + unit);
    }
    if (m.nchunks > 0 && m.size_key != m.receive_size_key) {
      return defect_at(Kind::kUnmatched, static_cast<int>(c.to_rank), c.lane, m.receive_step,
                       "the data that rank " + std::to_string(c.from_rank) + " sends in its step " +
                           std::to_string(m.send_step),
                       rows.empty() ? "data of another size when counts are uneven"
                                    : "side rows for main rows, or the other way");
    }
  }
  return std::nullopt;
}

World::Found World::check_offers() {
  for (uint32_t i = 0; i < offers.size(); ++i) {
    const WorldOffer& offer = offers[i];
    const WorldChannel& c = channels[offer.channel];
    const auto fail = [&](std::string expected, std::string got) {
      return defect_at(Kind::kOfferConflict, static_cast<int>(c.to_rank), c.lane, offer.step,
                       std::move(expected), std::move(got));
    };
    if (offer.ordinal >= c.received) {
      return fail("one of " + messages_text(c.received, c.from_rank, c.to_rank),
                  "message " + std::to_string(offer.ordinal));
    }
    if (offer.ordinal < offer.received_before) {
      return fail("an offer before its message",
                  "message " + std::to_string(offer.ordinal) + " has been received");
    }
    WorldMessage& m = messages[c.first_message + offer.ordinal];
    if (m.receive_cell != offer.cell || m.receive_nchunks != offer.nchunks) {
      return fail("the place that step " + std::to_string(m.receive_step) + " receives into",
                  "another place");
    }
    if (m.offer != kNothing) return fail("one offer a message", "a second one");
    m.offer = i;
    operands[steps[lanes[offer.lane].first_step + offer.step].first].message =
        c.first_message + offer.ordinal;
    if (!m.reply) continue;
    if (Found found = check_reply(offer, m)) return found;
  }
  return std::nullopt;
}

// kReply: when the peer made the message it had consumed all that this rank had sent it before the
// offer. What the making step itself consumes counts, unless its place overlaps the offered one
// without being the same: then the peer would overwrite what it has yet to read.
World::Found World::check_reply(const WorldOffer& offer, const WorldMessage& message) const {
  const WorldChannel& c = channels[offer.channel];
  const WorldChannel& back = channels[offer.channel ^ 1];
  const auto fail = [&](std::string expected, std::string got) {
    return defect_at(Kind::kFalseReply, static_cast<int>(c.to_rank), c.lane, offer.step,
                     std::move(expected), std::move(got));
  };
  if (message.acks < offer.sent_before) {
    return fail("rank " + std::to_string(c.from_rank) + " to have consumed " +
                    messages_text(offer.sent_before, c.to_rank, c.from_rank) + " before its step " +
                    std::to_string(message.send_step),
                std::to_string(message.acks) + " consumed");
  }
  for (uint32_t j = offer.sent_before; j-- > 0;) {
    const WorldMessage& sent = messages[back.first_message + j];
    if (sent.receive_step != message.send_step) {
      if (sent.receive_step < message.send_step) break;
      continue;
    }
    const bool apart =
        sent.cell + sent.nchunks <= offer.cell || offer.cell + offer.nchunks <= sent.cell;
    if (apart || (sent.cell == offer.cell && sent.nchunks == offer.nchunks)) continue;
    return fail("the place lent by step " + std::to_string(sent.send_step) +
                    ", or one apart from it: rank " + std::to_string(c.from_rank) +
                    " reads it in the step that makes the message",
                "a place that overlaps it");
  }
  return std::nullopt;
}

}  // namespace tutti
