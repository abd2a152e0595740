// Run, continued: steps with rows, and what the outputs of such schedules must hold in the end.
#include "comm/schedule/text.h"
#include "comm/verify/report.h"
#include "comm/verify/run.h"

namespace tutti {

namespace {
using Kind = Defect::Kind;
}  // namespace

void Run::reset_rows() {
  const World& w = *world_;
  row_expressions_.reset(record_);
  for (uint32_t rank = 0; rank < w.ranks.size(); ++rank) {
    for (uint32_t round = 0; round < rounds_; ++round) {
      row_expressions_.set_round(round);
      for (const Buffer buffer : {Buffer::kInput, Buffer::kInputSide, Buffer::kInputValue,
                                  Buffer::kBias0, Buffer::kBias1}) {
        const uint32_t base = w.rows.layouts[rank].base[static_cast<size_t>(buffer)];
        const uint32_t count = w.rows.layouts[rank].count[static_cast<size_t>(buffer)];
        for (uint32_t row = 0; row < count; ++row) {
          Cell& c = cells_[cell_at(rank, base + row, round)];
          c.value = row_expressions_.row(static_cast<int>(rank), buffer, row);
          c.round = static_cast<uint16_t>(round);
          c.written = true;
        }
      }
    }
  }
}

bool Run::execute_rows(uint32_t lane, const WorldStep& step) {
  if (step.op == Op::kSend) {
    for (const uint32_t cell : world_->rows.cells(world_->operands[step.first].cell)) {
      if (read_cell(lane, cell) == nullptr) return false;
    }
  } else {
    const auto index = static_cast<size_t>(&step - world_->steps.data());
    const RowProgram& program = world_->rows.all.programs[world_->rows.program_of[index]];
    if (!compute_rows(lane, step, program) || !store_rows(lane, step, program)) return false;
  }
  finish_messages(lane, step);
  return true;
}

// All is read before anything is written: the world has no step where that makes a difference.
bool Run::compute_rows(uint32_t lane, const WorldStep& step, const RowProgram& program) {
  row_values_.clear();
  for (uint32_t row = 0; row < step.nchunks; ++row) {
    if (!compute_row(lane, step, program, row)) return false;
  }
  return true;
}

bool Run::compute_row(uint32_t lane, const WorldStep& step, const RowProgram& program,
                      uint32_t row) {
  const WorldOperand* in = &world_->operands[step.first];
  row_terms_.clear();
  for (uint32_t i = 0; i < program.num_biases; ++i) {
    const Value* v = read_row(lane, in[i], row);
    if (v == nullptr) return false;
    row_terms_.push_back({*v, 1});
  }
  for (const RowTerm& t : world_->rows.all.terms_of(program, row)) {
    const Value* v = read_row(lane, in[t.input], t.row);
    if (v == nullptr) return false;
    row_terms_.push_back({*v, program.weighted ? t.weight : 1});
  }
  if (program.kernel == RowKernel::kSum || row_terms_.empty()) {
    row_values_.push_back(row_expressions_.sum(row_terms_));
  } else {
    row_values_.push_back(row_terms_[0].value);
  }
  return true;
}

// A message is read where the sender lent it.
const Value* Run::read_row(uint32_t lane, const WorldOperand& o, uint32_t row) {
  if (o.channel == kNothing) return read_cell(lane, world_->rows.cells(o.cell)[row]);
  const WorldMessage& m = world_->messages[o.message];
  const uint32_t cell = world_->rows.cells(m.cell)[row];
  const uint32_t from = world_->channels[o.channel].from_rank;
  return &cells_[cell_at(from, cell, lanes_[lane].round)].value;
}

bool Run::store_rows(uint32_t lane, const WorldStep& step, const RowProgram& program) {
  const WorldOperand* in = &world_->operands[step.first];
  for (uint32_t i = 0; i < step.n_in; ++i) {
    if ((in[i].flags & kLands) == 0) continue;
    for (const uint32_t cell : world_->rows.cells(in[i].cell)) {
      if (!land(lane, in[i], cell)) return false;
    }
  }
  const bool quantises = program.kernel == RowKernel::kQuantise;
  for (uint32_t i = 0; i < step.n_out; ++i) {
    const WorldOperand& out = in[step.n_in + i];
    const auto cells = world_->rows.cells(out.cell);
    for (uint32_t row = 0; row < cells.size(); ++row) {
      Value value = row_values_[row];
      if (quantises) {
        value = i == 0 ? row_expressions_.quantised(value) : row_expressions_.scales(value);
      }
      if (!store(lane, out, cells[row], value)) return false;
    }
  }
  return true;
}

void Run::check_rows() {
  const WorldRows& rows = world_->rows;
  if (rows.contract == nullptr || !rows.contract->promise) return;
  for (uint32_t rank = 0; rank < rows.layouts.size(); ++rank) {
    for (const Buffer buffer : {Buffer::kOutput, Buffer::kOutputSide, Buffer::kOutputValue}) {
      const uint32_t count = rows.layouts[rank].count[static_cast<size_t>(buffer)];
      for (uint64_t i = 0; i < uint64_t{count} * rounds_; ++i) {
        check_row(rank, static_cast<uint32_t>(i % rounds_), buffer,
                  static_cast<uint32_t>(i / rounds_));
        if (defect_) return;
      }
    }
  }
}

void Run::check_row(uint32_t rank, uint32_t round, Buffer buffer, uint32_t row) {
  const WorldRows& rows = world_->rows;
  row_expressions_.set_round(round);
  const RowPromise promise =
      rows.contract->promise(row_expressions_, static_cast<int>(rank), buffer, row);
  const uint32_t base = rows.layouts[rank].base[static_cast<size_t>(buffer)];
  const uint64_t index = cell_at(rank, base + row, round);
  const Cell& cell = cells_[index];
  Kind kind = Kind::kWrongResult;
  std::string expected = "nothing ever written there";
  if (promise.kind == RowPromise::Kind::kAnything) return;
  if (promise.kind == RowPromise::Kind::kUntouched) {
    if (!cell.touched) return;
  } else {
    if (cell.written && cell.value.order == promise.value.order) return;
    if (cell.written && cell.value.sum == promise.value.sum) kind = Kind::kReductionOrder;
    expected = row_expressions_.text(promise.value);
  }
  std::string got = cell.touched ? "what a message left there" : "nothing";
  if (cell.written) got = row_expressions_.text(cell.value);
  Defect d = defect(kind, static_cast<int>(rank), std::move(expected), std::move(got));
  d.place = std::string(name_of(buffer)) + "[" + std::to_string(row) + "]";
  d.chunk = row;
  d.round = static_cast<int>(round);
  if (record_ && writers_[index].lane != kNothing) {
    d.lane = world_->lanes[writers_[index].lane].index;
    d.step = writers_[index].step;
  }
  defect_ = std::move(d);
}

}  // namespace tutti
