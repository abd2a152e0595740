#include "comm/schedule/builder.h"

#include <algorithm>

#include "comm/base/check.h"

namespace tutti {

size_t Schedule::num_steps() const {
  size_t n = 0;
  for (const Lane& lane : lanes) n += lane.steps.size();
  return n;
}

void Schedule::clear() {
  for (Lane& lane : lanes) lane.steps.clear();
  operands.clear();
  rows.clear();
}

namespace {

// Equal but for where the operands lie in their arenas.
bool same_step(const Schedule& a, const Step& x, const Schedule& b, const Step& y) {
  Step moved = y;
  moved.first = x.first;
  if (!a.rows.empty()) {
    if (x.op == Op::kRows) moved.data_chunk = x.data_chunk;
    return x == moved && same_rows(a, x, b, y);
  }
  const auto ends_of = [](const Schedule& s, const Step& step) {
    return std::span(s.operands).subspan(step.first, size_t{step.n_in} + step.n_out);
  };
  const auto mine = ends_of(a, x);
  const auto theirs = ends_of(b, y);
  return x == moved && std::equal(mine.begin(), mine.end(), theirs.begin(), theirs.end());
}

}  // namespace

bool operator==(const Schedule& a, const Schedule& b) {
  if (a.collective != b.collective || a.nranks != b.nranks || a.rank != b.rank ||
      a.root != b.root || a.in_place != b.in_place || !(a.shape == b.shape) ||
      a.lanes.size() != b.lanes.size() || a.rows.empty() != b.rows.empty()) {
    return false;
  }
  for (size_t l = 0; l < a.lanes.size(); ++l) {
    const std::vector<Step>& mine = a.lanes[l].steps;
    const std::vector<Step>& theirs = b.lanes[l].steps;
    if (mine.size() != theirs.size()) return false;
    for (size_t i = 0; i < mine.size(); ++i) {
      if (!same_step(a, mine[i], b, theirs[i])) return false;
    }
  }
  return true;
}

Builder::Builder(const Params& params, Collective collective, Shape shape, Schedule* out)
    : out_(out) {
  out->clear();
  out->collective = collective;
  out->nranks = params.nranks;
  out->rank = params.rank;
  out->root = params.root;
  out->in_place = params.in_place;
  out->shape = shape;
  out->lanes.resize(1);
}

Place Builder::input(uint32_t chunk, uint32_t nchunks) {
  return {Buffer::kInput, chunk, {Buffer::kInput, chunk, nchunks}};
}

Place Builder::output(uint32_t chunk, uint32_t nchunks) {
  return {Buffer::kOutput, chunk, {Buffer::kOutput, chunk, nchunks}};
}

Place Builder::scratch(uint32_t slot, const Place& like) {
  return {Buffer::kScratch, slot, like.data};
}

Place Builder::nothing() { return {Buffer::kScratch, 0, {Buffer::kInput, 0, 0}}; }

void Builder::lane(uint32_t index) {
  lane_ = index;
  if (index >= out_->lanes.size()) out_->lanes.resize(index + 1);
}

void Builder::after(uint32_t other) {
  TUTTI_CHECK(other != lane_ && !out_->lanes[other].steps.empty(), "nothing to wait for");
  wait_lane_ = static_cast<uint16_t>(other);
  wait_step_ = static_cast<uint32_t>(out_->lanes[other].steps.size() - 1);
}

Step& Builder::push(Op op, const Piece& data, uint8_t flags) {
  Step s{};
  s.op = op;
  s.flags = flags;
  s.data_buffer = data.buffer;
  s.data_chunk = data.chunk;
  s.data_nchunks = data.nchunks;
  s.first = static_cast<uint32_t>(out_->operands.size());
  s.wait_lane = wait_lane_;
  s.wait_step = wait_step_;
  wait_lane_ = kNoLane;
  wait_step_ = 0;
  auto& steps = out_->lanes[lane_].steps;
  steps.push_back(s);
  return steps.back();
}

namespace {
Operand operand(const Place& p, int32_t peer, uint8_t flags) {
  return {p.buffer, flags, 0, p.chunk, peer};
}
}  // namespace

void Builder::send(int peer, const Place& from) {
  Step& s = push(Op::kSend, from.data, 0);
  s.n_in = 1;
  s.n_out = 1;
  out_->operands.push_back(operand(from, kLocal, 0));
  out_->operands.push_back(operand(from, peer, 0));
}

void Builder::recv(int peer, const Place& to, uint8_t operand_flags) {
  Step& s = push(Op::kRecv, to.data, 0);
  s.n_in = 1;
  s.n_out = 1;
  out_->operands.push_back(operand(to, peer, operand_flags));
  out_->operands.push_back(operand(to, kLocal, kKeep));
}

void Builder::copy(const Place& to, const Place& from) {
  if (to.buffer == from.buffer && to.chunk == from.chunk) return;
  Step& s = push(Op::kCopy, from.data, 0);
  s.n_in = 1;
  s.n_out = 1;
  out_->operands.push_back(operand(from, kLocal, 0));
  out_->operands.push_back(operand(to, kLocal, kKeep));
}

void Builder::reduce(const Place& to, std::span<const Place> from, uint8_t step_flags) {
  Step& s = push(Op::kReduce, from.front().data, step_flags);
  s.n_in = static_cast<uint16_t>(from.size());
  s.n_out = 1;
  for (const Place& p : from) out_->operands.push_back(operand(p, kLocal, 0));
  out_->operands.push_back(operand(to, kLocal, kKeep));
}

}  // namespace tutti
