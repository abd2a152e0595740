// Binding a schedule of rows: done for every call, so it costs a few nanoseconds for each row and
// allocates only what it has not needed before.
#include <algorithm>

#include "comm/base/check.h"
#include "comm/exec/plan.h"

namespace tutti {

namespace {

bool lands(const Step& step, const Operand& operand, uint32_t k) {
  return k < step.n_in && operand.peer != kLocal;
}

}  // namespace

Status Plan::bind_rows(const Schedule& from, const RowLayout& row_formats,
                       ChannelSource& channels) {
  rows = &from.rows;
  row_layout = row_formats;
  lanes.clear();
  steps.clear();
  operands.clear();
  parts.clear();
  lent.clear();
  sends.clear();
  recvs.clear();
  last_step_of_recv_.clear();
  row_steps.clear();
  row_sets.clear();
  most_operands = 0;
  for (uint32_t l = 0; l < from.lanes.size(); ++l) {
    const auto num_steps = static_cast<uint32_t>(from.lanes[l].steps.size());
    lanes.emplace_back();
    lanes.back().first_step = static_cast<uint32_t>(steps.size());
    lanes.back().num_steps = num_steps;
    send_of_peer_.assign(static_cast<size_t>(from.nranks), kNoChannel);
    recv_of_peer_.assign(static_cast<size_t>(from.nranks), kNoChannel);
    row_loans_.clear();
    for (const Step& step : from.lanes[l].steps) {
      TUTTI_TRY(bind_row_step(from, l, step, channels));
    }
  }
  iovecs.resize(parts.size());
  return Status();
}

Status Plan::bind_row_step(const Schedule& from, uint32_t lane, const Step& step,
                           ChannelSource& channels) {
  TUTTI_CHECK(step.op == Op::kSend || step.op == Op::kRows, "schedules of rows send and compute");
  const auto number = static_cast<uint32_t>(steps.size());
  const auto first = static_cast<uint32_t>(operands.size());
  const uint32_t num_operands = uint32_t{step.n_in} + step.n_out;
  BoundStep bound{
      step.op, step.flags, step.n_in, step.n_out, step.wait_lane, step.wait_step, first, 0,
      0,       0,          0,         true};
  most_operands = std::max(most_operands, num_operands);
  for (uint32_t k = 0; k < num_operands; ++k) {
    const Operand& o = from.operands[step.first + k];
    const RowSet& set = rows->sets[o.chunk];
    BoundOperand end{o.buffer, o.flags, kNoChannel, 0, 0, 0, nullptr};
    if (o.peer != kLocal) {
      bound.local = false;
      TUTTI_TRY(bind_message(o, k < step.n_in, lane, number, channels, &end));
      if (!lands(step, o, k) || !capabilities.view) {
        TUTTI_TRY(bind_row_parts(from.rank, o, set, &end));
      }
    }
    operands.push_back(end);
    row_sets.push_back(set);
  }
  find_row_loans(from, step, &bound);
  if (step.op == Op::kRows) bind_program(from, step, &bound);
  steps.push_back(bound);
  return Status();
}

// The channel and number of the message that `operand` is, in step `step` of the plan.
Status Plan::bind_message(const Operand& operand, bool incoming, uint32_t lane, uint32_t step,
                          ChannelSource& channels, BoundOperand* bound) {
  const auto peer = static_cast<size_t>(operand.peer);
  uint32_t& channel = incoming ? recv_of_peer_[peer] : send_of_peer_[peer];
  if (!incoming) {
    if (channel == kNoChannel) {
      Result<SendChannel*> opened = channels.send_channel(operand.peer, lane);
      if (!opened.ok()) return opened.status();
      channel = static_cast<uint32_t>(sends.size());
      sends.push_back({opened.value(), operand.peer, 0});
    }
    bound->channel = channel;
    bound->message = sends[channel].per_round++;
    return Status();
  }
  if (channel == kNoChannel) {
    Result<RecvChannel*> opened = channels.recv_channel(operand.peer, lane);
    if (!opened.ok()) return opened.status();
    channel = static_cast<uint32_t>(recvs.size());
    recvs.push_back({opened.value(), operand.peer, 0});
    last_step_of_recv_.push_back(UINT32_MAX);
  }
  // Only the oldest message of a channel can be seen.
  TUTTI_CHECK(last_step_of_recv_[channel] != step, "one message of each peer in a step");
  last_step_of_recv_[channel] = step;
  bound->channel = channel;
  bound->message = recvs[channel].per_round++;
  return Status();
}

// A message's rows as runs of memory: those next to each other are one.
Status Plan::bind_row_parts(int rank, const Operand& operand, const RowSet& set,
                            BoundOperand* bound) {
  const RowFormat& format = row_layout[operand.buffer];
  bound->first_part = static_cast<uint32_t>(parts.size());
  if (format.bytes == 0) return Status();
  size_t end = SIZE_MAX;
  for (const uint32_t row : rows->of(set)) {
    const size_t offset = row * format.stride;
    if (offset == end) {
      parts.back().bytes += format.bytes;
    } else {
      parts.push_back({offset, format.bytes});
    }
    end = offset + format.bytes;
  }
  bound->num_parts = static_cast<uint32_t>(parts.size()) - bound->first_part;
  if (bound->num_parts <= static_cast<uint32_t>(capabilities.max_parts) &&
      set.count * format.bytes <= capabilities.max_message_bytes) {
    return Status();
  }
  return error(
      Code::kInternalError,
      "rank %d: a message of %u rows of %zu bytes between it and rank %d lies in %u parts; "
      "the transport takes %zu bytes in %d parts",
      rank, set.count, format.bytes, operand.peer, bound->num_parts, capabilities.max_message_bytes,
      capabilities.max_parts);
}

// What the step writes must be back; what it sends is lent from then on.
void Plan::find_row_loans(const Schedule& from, const Step& step, BoundStep* bound) {
  const uint32_t num_operands = uint32_t{step.n_in} + step.n_out;
  bound->first_lent = static_cast<uint32_t>(lent.size());
  for (uint32_t k = 0; k < num_operands && step.op != Op::kSend; ++k) {
    const Operand& o = from.operands[step.first + k];
    if (k >= step.n_in || lands(step, o, k))
      row_loans_.collect(o.buffer, rows->of(rows->sets[o.chunk]));
  }
  row_loans_.take(&lent);
  bound->num_lent = static_cast<uint32_t>(lent.size()) - bound->first_lent;
  for (uint32_t k = step.n_in; k < num_operands; ++k) {
    const Operand& o = from.operands[step.first + k];
    if (o.peer == kLocal) continue;
    const BoundOperand& end = operands[bound->first + k];
    row_loans_.lend(o.buffer, rows->of(rows->sets[o.chunk]), end.channel, end.message);
  }
}

// Whether rows of `from` can be made rows of `to`: one for one, number for number, or with `values`
// and `scales` of the kind that is computed.
bool Plan::formats_fit(const Step& step, const Schedule& from, const RowProgram& program) const {
  const auto format = [&](uint32_t k) -> const RowFormat& {
    return row_layout[from.operands[step.first + k].buffer];
  };
  const RowFormat& to = format(step.n_in);
  const auto numbers = [](const RowFormat& f) { return f.bytes / size_of(f.dtype); };
  for (uint32_t k = 0; k < step.n_in; ++k) {
    const RowFormat& f = format(k);
    const RowFormat& first = format(program.num_biases);
    bool fits = f.bytes == to.bytes;
    if (program.kernel == RowKernel::kSum) {
      fits =
          numbers(f) == numbers(to) && f.dtype == (k < program.num_biases ? to.dtype : first.dtype);
    } else if (program.kernel == RowKernel::kQuantise) {
      const size_t scales = scales_per_row(row_layout.quant, to.bytes) * sizeof(float);
      fits =
          numbers(f) == to.bytes && f.dtype == first.dtype && format(step.n_in + 1).bytes == scales;
    }
    if (!fits) return false;
  }
  return true;
}

// Checks the form of a program and makes room for what computing it needs.
void Plan::bind_program(const Schedule& from, const Step& step, BoundStep* bound) {
  const RowProgram& program = rows->programs[step.data_chunk];
  bound->ordinal = static_cast<uint32_t>(row_steps.size());
  row_steps.push_back({program, step.data_nchunks});
  const bool quantises = program.kernel == RowKernel::kQuantise;
  TUTTI_CHECK(
      step.n_out > 0 && step.n_out <= RowTables::kMostOutputs && (!quantises || step.n_out == 2),
      "outputs of a program");
  TUTTI_CHECK(program.num_biases <= 2 && program.num_biases <= step.n_in, "biases of a program");
  TUTTI_CHECK(formats_fit(step, from, program), "rows of the formats that the program computes");
  size_t num_in = 0;
  for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
    const RowSet& set = row_sets[bound->first + k];
    TUTTI_CHECK((k >= program.num_biases && k < step.n_in) || set.count == step.data_nchunks,
                "a bias and an output row for each row of a program");
    if (k < step.n_in) num_in += set.count;
  }
  row_tables.make_room(step.n_in, num_in, most_terms(program, step.data_nchunks));
}

// Of one row of the program.
uint32_t Plan::most_terms(const RowProgram& program, uint32_t num_rows) const {
  const uint32_t least = program.kernel == RowKernel::kQuantise ? 1 : 0;
  const uint32_t limit = program.kernel == RowKernel::kSum ? UINT32_MAX : 1;
  uint32_t fewest = UINT32_MAX;
  uint32_t most = 0;
  uint32_t before = program.first_term;
  for (uint32_t i = 0; i < num_rows; ++i) {
    const uint32_t end = rows->ends[program.first_end + i];
    fewest = std::min(fewest, end - before);
    most = std::max(most, end - before);
    before = end;
  }
  TUTTI_CHECK(fewest >= least && most <= limit, "terms of a row");
  return most;
}

void RowTables::make_room(size_t num_inputs, size_t num_rows, size_t most_terms) {
  const auto grow = [](auto& table, size_t size) {
    if (table.size() < size) table.resize(size);
  };
  grow(shown, num_inputs);
  grow(first, num_inputs);
  grow(at, num_rows);
  grow(sources, std::max<size_t>(kBatchTerms, most_terms));
  grow(weights, std::max<size_t>(kBatchTerms, most_terms));
  grow(sums, kBatchRows);
  grow(targets, kBatchRows);
  grow(offsets, 2 * kBatchRows);
}

}  // namespace tutti
