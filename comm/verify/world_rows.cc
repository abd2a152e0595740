// World, continued: schedules with rows, brought into the same arrays. No offers, no shared memory
// of input and output, no shape: how many rows there are is told by the caller, or by the rows that
// are named.
#include <algorithm>

#include "comm/schedule/text.h"
#include "comm/verify/report.h"
#include "comm/verify/world.h"

namespace tutti {

namespace {
using Kind = Defect::Kind;

constexpr uint64_t kMaxCells = uint64_t{1} << 25;
constexpr uint64_t kMaxNamed = uint64_t{1} << 22;  // rows of a world whose caller tells no numbers
constexpr uint64_t kMaxEntries = uint64_t{1} << 25;  // rows in places; terms

// Data first, scratch behind: rounds share the scratch (run.h).
constexpr Buffer kData[] = {Buffer::kInput,      Buffer::kOutput,     Buffer::kInputSide,
                            Buffer::kOutputSide, Buffer::kInputValue, Buffer::kOutputValue,
                            Buffer::kBias0,      Buffer::kBias1};
constexpr Buffer kScratches[] = {Buffer::kScratch, Buffer::kScratchSide, Buffer::kScratchValue};

bool is_buffer(Buffer buffer) { return static_cast<int>(buffer) < kNumBuffers; }

bool may_write(Buffer buffer) {
  return buffer == Buffer::kOutput || buffer == Buffer::kOutputSide ||
         buffer == Buffer::kOutputValue || buffer == Buffer::kScratch ||
         buffer == Buffer::kScratchSide || buffer == Buffer::kScratchValue;
}

std::string row_name(Buffer buffer, uint64_t row) {
  return std::string(name_of(buffer)) + "[" + std::to_string(row) + "]";
}
}  // namespace

World::Found World::load_rows(const ScheduleOf& schedule_of, const RowContract* contract) {
  clear();
  rows.contract = contract;
  for (int rank = 0; rank < nranks; ++rank) {
    schedule_of(rank, &scratch_schedule_);
    if (Found found = check_rank(scratch_schedule_, rank)) return found;
    if (Found found = lay_out_rows(scratch_schedule_)) return found;
    if (Found found = add_rank(scratch_schedule_)) return found;
  }
  match_messages();
  return check_messages();
}

// Rows of each buffer that operands name; too many at once count as one row too many.
std::array<uint64_t, kNumBuffers> World::named_rows(const Schedule& s) {
  std::array<uint64_t, kNumBuffers> rows_of{};
  uint64_t seen = 0;
  for (const Operand& o : s.operands) {
    if (!is_buffer(o.buffer) || !s.rows.has_set(o.chunk)) continue;
    uint64_t& end = rows_of[static_cast<size_t>(o.buffer)];
    seen += s.rows.sets[o.chunk].count;
    if (seen > kMaxEntries) end = kMaxNamed + 1;
    if (end > kMaxNamed) break;
    for (const uint32_t row : s.rows.of(o.chunk)) end = std::max(end, uint64_t{row} + 1);
  }
  return rows_of;
}

World::Found World::lay_out_rows(const Schedule& s) {
  const bool told = rows.contract != nullptr && rows.contract->num_rows;
  std::array<uint64_t, kNumBuffers> rows_of{};
  if (!told) rows_of = named_rows(s);
  for (size_t b = 0; told && b < rows_of.size(); ++b) {
    rows_of[b] = rows.contract->num_rows(s.rank, static_cast<Buffer>(b));
  }
  uint64_t total = 0;
  for (const uint64_t count : rows_of) total += count;
  const uint64_t most = told ? kMaxCells : kMaxNamed;
  cells_total += total * std::max<size_t>(s.lanes.size(), 1);
  if (cells_total > most) {
    return defect(Kind::kMalformed, s.rank, "rows to verify at most " + std::to_string(most),
                  std::to_string(cells_total));
  }
  WorldRank r{};
  r.first_lane = static_cast<uint32_t>(lanes.size());
  r.num_lanes = static_cast<uint32_t>(s.lanes.size());
  WorldRows::Layout layout;
  uint32_t next = 0;
  const auto lay = [&](Buffer buffer) {
    const auto b = static_cast<size_t>(buffer);
    layout.base[b] = next;
    layout.count[b] = static_cast<uint32_t>(rows_of[b]);
    next += layout.count[b];
  };
  for (const Buffer buffer : kData) lay(buffer);
  r.data_cells = next;
  for (const Buffer buffer : kScratches) lay(buffer);
  r.scratch_cells = next - r.data_cells;
  ranks.push_back(r);
  rows.layouts.push_back(layout);
  if (row_marks_.size() < next) row_marks_.resize(next);
  return std::nullopt;
}

World::Found World::add_row_step(const Schedule& s, uint32_t lane, uint32_t index) {
  const Step& step = s.lanes[lane].steps[index];
  if (Found found = check_row_form(s, lane, index)) return found;
  const bool sends = step.op == Op::kSend;
  const uint32_t count = sends ? s.rows.sets[s.inputs(step)[0].chunk].count : step.data_nchunks;
  steps.push_back({step.op, 0, step.n_in, step.n_out, static_cast<uint32_t>(operands.size()), count,
                   kNothing, 0, kNothing});
  rows.program_of.push_back(kNothing);
  for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
    if (Found found = add_row_operand(s, lane, index, k)) return found;
  }
  ++serial_;
  if (Found found = mark_peers(s, lane, index)) return found;
  if (sends) return std::nullopt;
  if (Found found = add_program(s, lane, index)) return found;
  if (Found found = mark_landings(s, lane, index)) return found;
  if (Found found = mark_reads(s, lane, index)) return found;
  return mark_writes(s, lane, index);
}

World::Found World::check_row_form(const Schedule& s, uint32_t lane, uint32_t index) const {
  const Step& step = s.lanes[lane].steps[index];
  const auto malformed = [&](std::string expected, std::string got) {
    return defect_at(Kind::kMalformed, s.rank, lane, index, std::move(expected), std::move(got));
  };
  const size_t arity = size_t{step.n_in} + step.n_out;
  if (step.first > s.operands.size() || arity > s.operands.size() - step.first) {
    return malformed("operands below " + std::to_string(s.operands.size()),
                     "operands up to " + std::to_string(step.first + arity));
  }
  if (step.op != Op::kSend && step.op != Op::kRows) {
    return malformed("a send or rows", "an operation of collectives, or none");
  }
  if (step.flags != 0) return malformed("a step without flags", std::to_string(step.flags));
  for (size_t k = 0; k < arity; ++k) {
    const Operand& o = s.operands[step.first + k];
    if (!is_buffer(o.buffer)) {
      return malformed("a buffer", "buffer number " + std::to_string(static_cast<int>(o.buffer)));
    }
    if (!s.rows.has_set(o.chunk)) {
      return malformed("a set of rows below " + std::to_string(s.rows.sets.size()),
                       "set " + std::to_string(o.chunk));
    }
    if (o.peer != kLocal && (o.peer < 0 || o.peer >= nranks || o.peer == s.rank)) {
      return malformed("a peer below " + std::to_string(nranks) + ", not itself",
                       "rank " + std::to_string(o.peer));
    }
  }
  const auto in = s.inputs(step);
  const auto out = s.outputs(step);
  const bool fits = step.op == Op::kRows
                        ? !out.empty()
                        : in.size() == 1 && out.size() == 1 && in[0].peer == kLocal &&
                              out[0].peer != kLocal && in[0].buffer == out[0].buffer &&
                              std::ranges::equal(s.rows.of(in[0].chunk), s.rows.of(out[0].chunk));
  if (!fits) return malformed("the operands of its operation", "other operands");
  return std::nullopt;
}

World::Found World::add_row_operand(const Schedule& s, uint32_t lane, uint32_t index, uint32_t k) {
  const Step& step = s.lanes[lane].steps[index];
  const Operand& o = s.operands[step.first + k];
  const bool output = k >= step.n_in;
  const auto b = static_cast<size_t>(o.buffer);
  const uint32_t base = rows.layouts.back().base[b];
  const uint32_t count = rows.layouts.back().count[b];
  const auto fail = [&](Kind kind, uint32_t row, std::string expected, std::string got) {
    Defect d = defect_at(kind, s.rank, lane, index, std::move(expected), std::move(got));
    d.chunk = row;
    d.place = row_name(o.buffer, row);
    return d;
  };
  const auto named = s.rows.of(o.chunk);
  const bool writes = step.op == Op::kRows && (output || o.peer != kLocal);
  if (writes && !may_write(o.buffer) && !named.empty()) {
    return fail(Kind::kForbiddenWrite, named[0], "writes to output and scratch only",
                "a write to " + row_name(o.buffer, named[0]));
  }
  if (rows.all.indices.size() + named.size() > kMaxEntries) {
    return defect_at(Kind::kMalformed, s.rank, lane, index,
                     "rows in places at most " + std::to_string(kMaxEntries), "more");
  }
  const auto place = static_cast<uint32_t>(rows.all.sets.size());
  rows.all.sets.push_back(
      {static_cast<uint32_t>(rows.all.indices.size()), static_cast<uint32_t>(named.size())});
  for (const uint32_t row : named) {
    if (row >= count) {
      return fail(Kind::kMalformed, row,
                  std::string(name_of(o.buffer)) + " rows below " + std::to_string(count),
                  "row " + std::to_string(row));
    }
    rows.all.indices.push_back(base + row);
  }
  uint32_t channel = kNothing;
  if (o.peer != kLocal) {
    const auto peer = static_cast<uint32_t>(o.peer);
    const auto self = static_cast<uint32_t>(s.rank);
    channel = output ? channel_to(lane, self, peer) : channel_to(lane, peer, self);
  }
  uint8_t flags = 0;
  if (step.op == Op::kRows && !output && o.peer != kLocal) flags = kLands;
  if (step.op == Op::kRows && output) {
    const bool defines = o.peer == kLocal || (o.flags & kKeep) != 0;
    flags = defines ? kWrites | kDefines : kWrites;
  }
  operands.push_back({place, channel, 0, flags});
  size_keys_.push_back(static_cast<uint64_t>(role_of(o.buffer)));
  return std::nullopt;
}

std::string World::row_cell_name(uint32_t rank, uint32_t cell, uint32_t* row) const {
  const WorldRows::Layout& layout = rows.layouts[rank];
  for (size_t b = 0; b < layout.base.size(); ++b) {
    if (cell < layout.base[b] || cell - layout.base[b] >= layout.count[b]) continue;
    if (row != nullptr) *row = cell - layout.base[b];
    return row_name(static_cast<Buffer>(b), cell - layout.base[b]);
  }
  return "no row";
}

}  // namespace tutti
