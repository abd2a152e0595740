#include "comm/schedule/row_builder.h"

#include "comm/base/check.h"

namespace tutti {

RowBuilder::RowBuilder(int nranks, int rank, Schedule* out) : out_(out) {
  out_->clear();
  out_->collective = Collective::kBarrier;  // none: what a Schedule says when it is new
  out_->nranks = nranks;
  out_->rank = rank;
  out_->root = 0;
  out_->in_place = false;
  out_->shape = {};
  out_->lanes.resize(1);
}

RowBuilder::Place RowBuilder::list(Buffer buffer, std::span<const uint32_t> rows) {
  Rows& all = out_->rows;
  all.sets.push_back(
      {static_cast<uint32_t>(all.indices.size()), static_cast<uint32_t>(rows.size())});
  all.indices.insert(all.indices.end(), rows.begin(), rows.end());
  return {buffer, static_cast<uint32_t>(all.sets.size() - 1)};
}

RowBuilder::Place RowBuilder::run(Buffer buffer, uint32_t first, uint32_t count) {
  Rows& all = out_->rows;
  all.sets.push_back({static_cast<uint32_t>(all.indices.size()), count});
  for (uint32_t i = 0; i < count; ++i) all.indices.push_back(first + i);
  return {buffer, static_cast<uint32_t>(all.sets.size() - 1)};
}

Operand RowBuilder::operand(const Place& place, int peer, uint8_t flags) const {
  return {place.buffer, flags, 0, place.set, peer};
}

void RowBuilder::send(int peer, const Place& from) {
  Step step = {};
  step.op = Op::kSend;
  step.n_in = 1;
  step.n_out = 1;
  step.first = static_cast<uint32_t>(out_->operands.size());
  step.wait_lane = kNoLane;
  out_->operands.push_back(operand(from, kLocal, 0));
  out_->operands.push_back(operand(from, peer, kKeep));
  out_->lanes[0].steps.push_back(step);
}

void RowBuilder::begin(RowKernel kernel, bool weighted) {
  Rows& rows = out_->rows;
  step_ = {};
  step_.op = Op::kRows;
  step_.wait_lane = kNoLane;
  step_.first = static_cast<uint32_t>(out_->operands.size());
  step_.data_chunk = static_cast<uint32_t>(rows.programs.size());
  rows.programs.push_back({kernel, weighted, 0, static_cast<uint32_t>(rows.ends.size()),
                           static_cast<uint32_t>(rows.terms.size())});
}

uint32_t RowBuilder::bias(const Place& place) {
  ++out_->rows.programs.back().num_biases;
  return input(place);
}

uint32_t RowBuilder::input(const Place& place, int peer) {
  TUTTI_CHECK(step_.n_out == 0, "inputs of a step come before its outputs");
  out_->operands.push_back(operand(place, peer, 0));
  return step_.n_in++;
}

void RowBuilder::output(const Place& place, int peer, uint8_t flags) {
  out_->operands.push_back(operand(place, peer, flags));
  ++step_.n_out;
}

void RowBuilder::row(std::span<const RowTerm> terms) {
  Rows& rows = out_->rows;
  rows.terms.insert(rows.terms.end(), terms.begin(), terms.end());
  rows.ends.push_back(static_cast<uint32_t>(rows.terms.size()));
  ++step_.data_nchunks;
}

void RowBuilder::end() { out_->lanes[0].steps.push_back(step_); }

}  // namespace tutti
