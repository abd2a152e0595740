#include "comm/verify/world.h"

#include <algorithm>

#include "comm/schedule/contract.h"
#include "comm/schedule/text.h"
#include "comm/verify/report.h"

namespace tutti {

namespace {

using Kind = Defect::Kind;

constexpr uint32_t kMaxLanes = 1024;
constexpr uint64_t kMaxCells = uint64_t{1} << 25;

uint64_t chunks_of(uint32_t blocks, const Shape& shape) {
  return uint64_t{blocks} * shape.chunks_per_block;
}

// Chunks with equal keys have equal sizes, whatever the counts of the call: the tail of a block,
// and blocks of different ranks in the v-variants, differ.
uint64_t size_key(const Schedule& s, Buffer buffer, uint32_t chunk) {
  const uint64_t per_block = s.shape.chunks_per_block;
  const uint64_t block = chunk / per_block;
  const uint64_t within = chunk % per_block;
  const auto self = static_cast<uint64_t>(s.rank);
  const bool input = buffer == Buffer::kInput;
  switch (s.collective) {
    case Collective::kAllGather:
    case Collective::kGather:
      return (input ? self : block) * per_block + within;
    case Collective::kReduceScatter:
    case Collective::kScatter:
      return (input ? block : self) * per_block + within;
    case Collective::kAllToAll: {
      const uint64_t from = input ? self : block;
      const uint64_t to = input ? block : self;
      return (from * static_cast<uint64_t>(s.nranks) + to) * per_block + within;
    }
    default:
      return chunk;
  }
}

}  // namespace

void World::clear() {
  num_snapshots = 0;
  cells_total = 0;
  serial_ = 0;
  ranks.clear();
  lanes.clear();
  steps.clear();
  operands.clear();
  channels.clear();
  messages.clear();
  offers.clear();
  promises.clear();
  size_keys_.clear();
  rows.clear();
  marks_.clear();
  row_marks_.clear();
  channel_marks_.clear();
  std::fill(channel_table_.begin(), channel_table_.end(), 0);
}

std::optional<Defect> World::load(int num_ranks, const ScheduleOf& schedule_of,
                                  const RowContract* contract) {
  nranks = num_ranks;
  clear();
  if (nranks < 1) return defect(Kind::kMalformed, 0, "at least one rank", std::to_string(nranks));
  if (contract != nullptr) return load_rows(schedule_of, contract);
  for (int rank = 0; rank < nranks; ++rank) {
    schedule_of(rank, &scratch_schedule_);
    // A rank without rows to move has a schedule that does not look like one with rows.
    if (!scratch_schedule_.rows.empty()) return load_rows(schedule_of, nullptr);
    if (Found found = check_header(scratch_schedule_, rank)) return found;
    lay_out(scratch_schedule_);
    if (Found found = add_rank(scratch_schedule_)) return found;
  }
  match_messages();
  if (Found found = check_messages()) return found;
  return check_offers();
}

World::Found World::check_rank(const Schedule& s, int rank) const {
  const auto malformed = [rank](const char* what, int64_t expected, int64_t got) {
    return defect(Kind::kMalformed, rank, std::string(what) + " " + std::to_string(expected),
                  std::to_string(got));
  };
  if (s.nranks != nranks) return malformed("nranks", nranks, s.nranks);
  if (s.rank != rank) return malformed("rank", rank, s.rank);
  if (s.lanes.size() > kMaxLanes) {
    return malformed("lanes, at most", kMaxLanes, static_cast<int64_t>(s.lanes.size()));
  }
  return std::nullopt;
}

World::Found World::check_header(const Schedule& s, int rank) {
  const auto malformed = [rank](const char* what, int64_t expected, int64_t got) {
    return defect(Kind::kMalformed, rank, std::string(what) + " " + std::to_string(expected),
                  std::to_string(got));
  };
  if (rank == 0) {
    collective = s.collective;
    shape_ = s.shape;
    root_ = s.root;
  }
  if (Found found = check_rank(s, rank)) return found;
  if (s.collective != collective || static_cast<int>(s.collective) >= kNumCollectives) {
    return malformed("the collective of rank 0, number", static_cast<int>(collective),
                     static_cast<int>(s.collective));
  }
  if (s.root != root_) return malformed("the root of rank 0,", root_, s.root);
  if (s.root < 0 || s.root >= nranks) return malformed("a root below nranks", nranks, s.root);
  const Shape& shape = s.shape;
  const uint32_t in = input_blocks(collective, nranks);
  const uint32_t out = output_blocks(collective, nranks);
  if (shape.input_blocks != in) return malformed("input blocks", in, shape.input_blocks);
  if (shape.output_blocks != out) return malformed("output blocks", out, shape.output_blocks);
  if (shape.chunks_per_block != shape_.chunks_per_block || shape.chunks_per_block == 0) {
    return malformed("chunks per block as on rank 0, not 0:", shape_.chunks_per_block,
                     shape.chunks_per_block);
  }
  // Cells count once for each lane: that is what the order of lanes costs to check.
  const uint64_t cells = chunks_of(in, shape) + chunks_of(out, shape) + shape.scratch_slots;
  cells_total += cells * std::max<size_t>(s.lanes.size(), 1);
  if (cells_total > kMaxCells) {
    return malformed("chunks to verify at most", kMaxCells, static_cast<int64_t>(cells_total));
  }
  return std::nullopt;
}

// Where input and output share memory, one lies inside the other at a fixed distance: an
// all-gather's input inside the output, a reduce-scatter's output inside the input.
void World::lay_out(const Schedule& s) {
  WorldRank r{};
  r.first_lane = static_cast<uint32_t>(lanes.size());
  r.num_lanes = static_cast<uint32_t>(s.lanes.size());
  const auto inputs = static_cast<uint32_t>(chunks_of(s.shape.input_blocks, s.shape));
  const auto outputs = static_cast<uint32_t>(chunks_of(s.shape.output_blocks, s.shape));
  r.num_inputs = has_input(s, s.rank) ? inputs : 0;
  r.num_outputs = has_output(s, s.rank) ? outputs : 0;
  r.input_base = r.num_outputs;
  r.data_cells = r.num_inputs + r.num_outputs;
  for (uint32_t i = 0; s.in_place && i < r.num_inputs; ++i) {
    const int64_t shared = aliased_output(s, i);
    if (shared < 0) continue;
    r.input_base = shared >= i ? static_cast<uint32_t>(shared - i) : 0;
    r.output_base = shared >= i ? 0 : static_cast<uint32_t>(i - shared);
    r.data_cells = std::max(r.input_base + r.num_inputs, r.output_base + r.num_outputs);
    break;
  }
  r.scratch_cells = s.shape.scratch_slots;
  ranks.push_back(r);
  for (uint32_t c = 0; c < r.num_outputs; ++c) promises.push_back(promise(s, c));
  if (marks_.size() < r.data_cells + r.scratch_cells) marks_.resize(r.data_cells + r.scratch_cells);
}

World::Found World::add_rank(const Schedule& s) {
  const uint32_t first_lane = ranks.back().first_lane;
  for (uint32_t l = 0; l < s.lanes.size(); ++l) {
    const auto num_steps = static_cast<uint32_t>(s.lanes[l].steps.size());
    lanes.push_back(
        {static_cast<uint32_t>(s.rank), l, static_cast<uint32_t>(steps.size()), num_steps});
    for (uint32_t i = 0; i < num_steps; ++i) {
      if (Found found = add_step(s, l, i)) return found;
    }
  }
  for (uint32_t l = 0; l < s.lanes.size(); ++l) {
    for (uint32_t i = 0; i < lanes[first_lane + l].num_steps; ++i) {
      if (s.lanes[l].steps[i].wait_lane == kNoLane) continue;
      if (Found found = resolve_waits(s, l, i)) return found;
    }
  }
  return std::nullopt;
}

World::Found World::add_step(const Schedule& s, uint32_t lane, uint32_t index) {
  if (!rows.empty()) return add_row_step(s, lane, index);
  const Step& step = s.lanes[lane].steps[index];
  if (Found found = check_form(s, lane, index)) return found;
  steps.push_back({step.op, step.flags, step.n_in, step.n_out,
                   static_cast<uint32_t>(operands.size()), step.data_nchunks, kNothing, 0,
                   kNothing});
  for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
    if (Found found = add_operand(s, lane, index, k)) return found;
  }
  return classify(s, lane, index);
}

World::Found World::check_form(const Schedule& s, uint32_t lane, uint32_t index) {
  const Step& step = s.lanes[lane].steps[index];
  const auto malformed = [&](std::string expected, std::string got) {
    return defect_at(Kind::kMalformed, s.rank, lane, index, std::move(expected), std::move(got));
  };
  const size_t arity = size_t{step.n_in} + step.n_out;
  if (step.first > s.operands.size() || arity > s.operands.size() - step.first) {
    return malformed("operands below " + std::to_string(s.operands.size()),
                     "operands up to " + std::to_string(step.first + arity));
  }
  const auto in = s.inputs(step);
  const auto out = s.outputs(step);
  bool fits = false;
  switch (step.op) {
    case Op::kSend:
      fits = in.size() == 1 && out.size() == 1 && in[0].peer == kLocal && out[0].peer != kLocal &&
             in[0].buffer == out[0].buffer && in[0].chunk == out[0].chunk;
      break;
    case Op::kRecv:
      fits = in.size() == 1 && out.size() == 1 && in[0].peer != kLocal && out[0].peer == kLocal;
      break;
    case Op::kCopy:
      fits = in.size() == 1 && !out.empty();
      break;
    case Op::kReduce:
      fits = !in.empty() && !out.empty();
      break;
    case Op::kOffer:
      fits = in.empty() && out.size() == 1 && out[0].peer != kLocal;
      break;
    case Op::kRows:
      break;
  }
  if (!fits) return malformed("the operands of its operation", "other operands");
  if ((step.flags & kFinal) != 0 && step.op != Op::kReduce) {
    return malformed("final on a reduce only", "final on another operation");
  }
  const uint32_t blocks =
      step.data_buffer == Buffer::kInput ? s.shape.input_blocks : s.shape.output_blocks;
  const uint64_t end = uint64_t{step.data_chunk} + step.data_nchunks;
  if (step.data_buffer != Buffer::kInput && step.data_buffer != Buffer::kOutput) {
    return malformed("data of input or output", "data of another buffer");
  }
  if (end > chunks_of(blocks, s.shape)) {
    return malformed("data chunks below " + std::to_string(chunks_of(blocks, s.shape)),
                     "chunks up to " + std::to_string(end));
  }
  return std::nullopt;
}

World::Found World::add_operand(const Schedule& s, uint32_t lane, uint32_t index, uint32_t k) {
  const Step& step = s.lanes[lane].steps[index];
  const Operand& o = s.operands[step.first + k];
  const WorldRank& r = ranks.back();
  const bool output = k >= step.n_in;
  const auto fail = [&](Kind kind, std::string expected, std::string got) {
    Defect d = defect_at(kind, s.rank, lane, index, std::move(expected), std::move(got));
    d.chunk = o.chunk;
    return d;
  };
  uint32_t base = 0, count = 0;
  switch (o.buffer) {
    case Buffer::kInput:
      base = r.input_base, count = r.num_inputs;
      break;
    case Buffer::kOutput:
      base = r.output_base, count = r.num_outputs;
      break;
    case Buffer::kScratch:
      base = r.data_cells, count = r.scratch_cells;
      break;
    default:
      return fail(Kind::kMalformed, "a buffer", "buffer number " + std::to_string(int(o.buffer)));
  }
  if (uint64_t{o.chunk} + step.data_nchunks > count) {
    // A result that this rank does not have is its own mistake: the others are slips of numbers.
    const bool absent = count == 0 && output && step.op != Op::kSend;
    return fail(absent ? Kind::kForbiddenWrite : Kind::kMalformed,
                std::string(name_of(o.buffer)) + " chunks below " + std::to_string(count),
                "chunks up to " + std::to_string(uint64_t{o.chunk} + step.data_nchunks));
  }
  const uint32_t cell = base + o.chunk;
  const bool writes = (output || o.peer != kLocal) && step.op != Op::kSend;
  for (uint32_t c = cell; writes && c < cell + step.data_nchunks; ++c) {
    if (c >= r.data_cells || r.is_output(c)) continue;
    return fail(Kind::kForbiddenWrite, "writes to output, scratch or shared input only",
                "a write to " + cell_name(static_cast<uint32_t>(s.rank), c, nullptr));
  }
  const uint64_t key = size_key(s, step.data_buffer, step.data_chunk);
  if (o.buffer != Buffer::kScratch && step.data_nchunks > 0 &&
      size_key(s, o.buffer, o.chunk) != key) {
    return fail(Kind::kMalformed, "places of the size of the step's data",
                std::string(name_of(o.buffer)) + "[" + std::to_string(o.chunk) + "]");
  }
  uint32_t channel = kNothing;
  if (o.peer != kLocal) {
    if (o.peer < 0 || o.peer >= nranks || o.peer == s.rank) {
      return fail(Kind::kMalformed, "a peer below " + std::to_string(nranks) + ", not itself",
                  "rank " + std::to_string(o.peer));
    }
    const auto peer = static_cast<uint32_t>(o.peer);
    const auto self = static_cast<uint32_t>(s.rank);
    const bool incoming = !output || step.op == Op::kOffer;
    channel = incoming ? channel_to(lane, peer, self) : channel_to(lane, self, peer);
  }
  // The message's number is not known yet: an offer's ordinal waits in its place.
  operands.push_back({cell, channel, step.ordinal, o.flags});
  size_keys_.push_back(key);
  return std::nullopt;
}

World::Found World::resolve_waits(const Schedule& s, uint32_t lane, uint32_t index) {
  WorldRank& r = ranks.back();
  const Step& step = s.lanes[lane].steps[index];
  if (step.wait_lane >= r.num_lanes || step.wait_lane == lane ||
      step.wait_step >= lanes[r.first_lane + step.wait_lane].num_steps) {
    return defect_at(
        Kind::kMalformed, s.rank, lane, index, "a wait for a step of another lane",
        "lane " + std::to_string(step.wait_lane) + " step " + std::to_string(step.wait_step));
  }
  r.has_waits = true;
  WorldStep& waiting = steps[lanes[r.first_lane + lane].first_step + index];
  waiting.wait_lane = r.first_lane + step.wait_lane;
  waiting.wait_step = step.wait_step;
  WorldStep& awaited = steps[lanes[waiting.wait_lane].first_step + step.wait_step];
  if (awaited.snapshot == kNothing) awaited.snapshot = num_snapshots++;
  return std::nullopt;
}

std::string World::cell_name(uint32_t rank, uint32_t cell, uint32_t* chunk) const {
  if (!rows.empty()) return row_cell_name(rank, cell, chunk);
  const WorldRank& r = ranks[rank];
  Buffer buffer = Buffer::kInput;
  uint32_t number = cell - r.input_base;
  if (cell >= r.data_cells) {
    buffer = Buffer::kScratch;
    number = cell - r.data_cells;
  } else if (r.is_output(cell)) {
    buffer = Buffer::kOutput;
    number = cell - r.output_base;
  }
  if (chunk != nullptr) *chunk = number;
  return std::string(name_of(buffer)) + "[" + std::to_string(number) + "]";
}

}  // namespace tutti
