// World, continued: how the places of one step may overlap, and what the step does to each.
//
// A step works chunk by chunk, element by element, so two of its places either coincide or keep
// apart; a message must not land on what the step reads; and a channel shows one message at a time.
#include "comm/verify/report.h"
#include "comm/verify/world.h"

namespace tutti {

namespace {
using Kind = Defect::Kind;

// Mark bits.
constexpr uint8_t kLanding = 1;  // a message may land here
constexpr uint8_t kTwisted = 2;  // read as two different chunks of the step's data
constexpr uint8_t kKept = 4;     // an output operand keeps what is written here
constexpr uint8_t kWritten = 8;
}  // namespace

World::Found World::mark_peers(const Schedule& s, uint32_t lane, uint32_t index) {
  const WorldStep& step = steps.back();
  channel_marks_.resize(channels.size(), 0);
  for (uint32_t i = 0; i < uint32_t{step.n_in} + step.n_out; ++i) {
    const uint32_t channel = operands[step.first + i].channel;
    if (channel == kNothing) continue;
    if (channel_marks_[channel] == serial_) {
      return defect_at(Kind::kMalformed, s.rank, lane, index, "one message of a peer in one step",
                       "two messages on one channel");
    }
    channel_marks_[channel] = serial_;
  }
  return std::nullopt;
}

World::Found World::mark_inputs(const Schedule& s, uint32_t lane, uint32_t index) {
  const WorldStep& step = steps.back();
  for (uint32_t i = 0; i < step.n_in; ++i) {
    WorldOperand& o = operands[step.first + i];
    const bool landing = o.channel != kNothing;
    for (uint32_t k = 0; k < step.nchunks; ++k) {
      Mark& mark = marks_[o.cell + k];
      if (mark.step != serial_) {
        mark = {serial_, k, landing ? kLanding : uint8_t{0}};
        continue;
      }
      if (landing || (mark.bits & kLanding) != 0) {
        return defect_at(Kind::kForbiddenWrite, s.rank, lane, index,
                         "a landing place that the step does not read",
                         cell_name(static_cast<uint32_t>(s.rank), o.cell + k, nullptr));
      }
      if (mark.offset != k) mark.bits |= kTwisted;
    }
    o.flags = static_cast<uint8_t>((o.flags & kReply) | (landing ? kLands : 0));
  }
  return std::nullopt;
}

World::Found World::mark_outputs(const Schedule& s, uint32_t lane, uint32_t index) {
  const WorldStep& step = steps.back();
  for (uint32_t i = 0; i < step.n_out; ++i) {
    const WorldOperand& o = operands[step.first + step.n_in + i];
    for (uint32_t k = 0; k < step.nchunks; ++k) {
      Mark& mark = marks_[o.cell + k];
      if (mark.step != serial_) mark = {serial_, k, 0};
      if (mark.offset != k || (mark.bits & kTwisted) != 0) {
        return defect_at(Kind::kForbiddenWrite, s.rank, lane, index,
                         "places that coincide or keep apart",
                         cell_name(static_cast<uint32_t>(s.rank), o.cell + k, nullptr) +
                             " as two different chunks of one step");
      }
      if ((o.flags & kKeep) != 0) mark.bits |= kKept;
    }
  }
  return std::nullopt;
}

World::Found World::classify(const Schedule& s, uint32_t lane, uint32_t index) {
  const WorldStep& step = steps.back();
  if (step.op == Op::kOffer || step.op == Op::kSend) return std::nullopt;
  ++serial_;
  if (Found found = mark_peers(s, lane, index)) return found;
  if (Found found = mark_inputs(s, lane, index)) return found;
  if (Found found = mark_outputs(s, lane, index)) return found;
  // Places that share a first cell coincide: the first one writes for all. A copy onto itself
  // writes nothing.
  const WorldOperand& source = operands[step.first];
  const uint32_t self = step.op == Op::kCopy && source.channel == kNothing ? source.cell : kNothing;
  for (uint32_t i = 0; i < step.n_out; ++i) {
    WorldOperand& o = operands[step.first + step.n_in + i];
    o.flags = 0;
    if (step.nchunks == 0 || o.cell == self) continue;
    Mark& mark = marks_[o.cell];
    if ((mark.bits & kWritten) != 0) continue;
    o.flags = (mark.bits & kKept) != 0 ? kWrites | kDefines : kWrites;
    mark.bits |= kWritten;
  }
  return std::nullopt;
}

}  // namespace tutti
