#include "tests/support/schedule_interpreter.h"

#include <cstring>
#include <deque>
#include <map>
#include <tuple>
#include <vector>

#include "tests/support/scalar_reference.h"

namespace tutti {

namespace {

using Bytes = std::vector<uint8_t>;

struct LanePosition {
  uint32_t round = 0;
  size_t step = 0;
};

struct RankState {
  Schedule schedule;
  const InterpretedRank* memory;
  Bytes scratch;
  std::vector<LanePosition> lanes;
};

class Interpreter {
 public:
  Interpreter(const Interpretation& what, std::span<const InterpretedRank> memory) : what_(what) {
    ranks_.resize(memory.size());
    for (size_t r = 0; r < ranks_.size(); ++r) {
      RankState& rank = ranks_[r];
      Params params;
      params.nranks = static_cast<int>(memory.size());
      params.rank = static_cast<int>(r);
      params.root = what.root;
      params.pieces = what.pieces;
      what.algorithm->build(params, &rank.schedule);
      rank.memory = &memory[r];
      rank.scratch.resize(rank.schedule.shape.scratch_slots * memory[r].layout->slot_bytes());
      rank.lanes.resize(rank.schedule.lanes.size());
    }
  }

  std::string run() {
    bool moved = true;
    while (moved && fault_.empty()) {
      moved = false;
      for (int r = 0; r < static_cast<int>(ranks_.size()); ++r) moved = advance(r) || moved;
    }
    if (fault_.empty()) find_leftovers();
    return fault_;
  }

 private:
  // Runs each lane of rank r until it must wait for a message; whether anything moved.
  bool advance(int r) {
    RankState& rank = ranks_[static_cast<size_t>(r)];
    bool moved = false;
    for (size_t l = 0; l < rank.lanes.size(); ++l) {
      LanePosition& at = rank.lanes[l];
      const std::vector<Step>& steps = rank.schedule.lanes[l].steps;
      if (steps.empty()) continue;
      while (at.round < rank.memory->layout->rounds() && fault_.empty()) {
        const Step& step = steps[at.step];
        if (waits(rank, at, step) || !run_step(r, l, step, at.round)) break;
        moved = true;
        if (++at.step < steps.size()) continue;
        at.step = 0;
        ++at.round;
      }
    }
    return moved;
  }

  static bool waits(const RankState& rank, const LanePosition& at, const Step& step) {
    if (step.wait_lane == kNoLane) return false;
    const LanePosition& other = rank.lanes[step.wait_lane];
    return other.round < at.round || (other.round == at.round && other.step <= step.wait_step);
  }

  // False: the message it wants is not there yet.
  bool run_step(int r, size_t lane, const Step& step, uint32_t round) {
    RankState& rank = ranks_[static_cast<size_t>(r)];
    const std::span<const Operand> inputs = rank.schedule.inputs(step);
    const std::span<const Operand> outputs = rank.schedule.outputs(step);
    switch (step.op) {
      case Op::kSend:
        queues_[{r, outputs[0].peer, lane}].push_back(read(rank, step, inputs[0], round));
        return true;
      case Op::kCopy:
        write(rank, step, outputs[0], round, read(rank, step, inputs[0], round));
        return true;
      case Op::kRecv: {
        std::deque<Bytes>& queue = queues_[{inputs[0].peer, r, lane}];
        if (queue.empty()) return false;
        write(rank, step, outputs[0], round, queue.front());
        queue.pop_front();
        return true;
      }
      case Op::kReduce:
        write(rank, step, outputs[0], round, fold(rank, step, inputs, round));
        return true;
      case Op::kOffer:
      case Op::kRows:
        break;
    }
    fault_ = "rank " + std::to_string(r) + ": a step that plain schedules do not have";
    return true;
  }

  // Calls visit(offset, bytes) for each chunk of the operand's place, in order.
  template <typename Visit>
  void each_extent(const RankState& rank, const Step& step, const Operand& o, uint32_t round,
                   Visit visit) {
    const DataLayout& layout = *rank.memory->layout;
    for (uint32_t i = 0; i < step.data_nchunks; ++i) {
      const Extent data = layout.chunk(step.data_buffer, step.data_chunk + i, round);
      const size_t offset = o.buffer == Buffer::kScratch
                                ? (o.chunk + i) * layout.slot_bytes()
                                : layout.chunk(o.buffer, o.chunk + i, round).offset;
      if (data.bytes > 0) visit(offset, data.bytes);
    }
  }

  Bytes read(const RankState& rank, const Step& step, const Operand& o, uint32_t round) {
    const uint8_t* base = o.buffer == Buffer::kInput    ? rank.memory->input
                          : o.buffer == Buffer::kOutput ? rank.memory->output
                                                        : rank.scratch.data();
    Bytes data;
    each_extent(rank, step, o, round, [&](size_t offset, size_t bytes) {
      if (base == nullptr) {
        fault_ = "a step reads a buffer that its rank does not have";
      } else {
        data.insert(data.end(), base + offset, base + offset + bytes);
      }
    });
    return data;
  }

  void write(RankState& rank, const Step& step, const Operand& o, uint32_t round,
             const Bytes& data) {
    uint8_t* base = o.buffer == Buffer::kOutput    ? rank.memory->output
                    : o.buffer == Buffer::kScratch ? rank.scratch.data()
                                                   : nullptr;
    size_t done = 0;
    each_extent(rank, step, o, round, [&](size_t offset, size_t bytes) {
      if (base == nullptr || done + bytes > data.size()) {
        fault_ = base == nullptr ? "a step writes a buffer that its rank may not write"
                                 : "a message is shorter than its receive";
      } else {
        std::memcpy(base + offset, data.data() + done, bytes);
      }
      done += bytes;
    });
    if (done != data.size() && fault_.empty()) fault_ = "a message is longer than its receive";
  }

  Bytes fold(const RankState& rank, const Step& step, std::span<const Operand> inputs,
             uint32_t round) {
    std::vector<Bytes> terms;
    std::vector<const void*> sources;
    for (const Operand& o : inputs) terms.push_back(read(rank, step, o, round));
    for (const Bytes& term : terms) sources.push_back(term.data());
    Bytes result(terms.front().size());
    ReferenceCall call{result.data(),
                       sources.data(),
                       static_cast<int>(sources.size()),
                       result.size() / size_of(what_.dtype),
                       what_.dtype,
                       what_.op};
    call.divisor = (step.flags & kFinal) != 0 ? what_.divisor : 0;
    reference_reduce(call);
    return result;
  }

  void find_leftovers() {
    for (size_t r = 0; r < ranks_.size(); ++r) {
      const RankState& rank = ranks_[r];
      for (size_t l = 0; l < rank.lanes.size(); ++l) {
        if (rank.schedule.lanes[l].steps.empty()) continue;
        if (rank.lanes[l].round == rank.memory->layout->rounds()) continue;
        fault_ = "rank " + std::to_string(r) + " waits for ever at step " +
                 std::to_string(rank.lanes[l].step) + " of round " +
                 std::to_string(rank.lanes[l].round);
        return;
      }
    }
    for (const auto& [channel, queue] : queues_) {
      if (!queue.empty()) fault_ = "a message was sent that nobody receives";
    }
  }

  const Interpretation& what_;
  std::vector<RankState> ranks_;
  std::map<std::tuple<int, int, size_t>, std::deque<Bytes>> queues_;  // from, to, lane
  std::string fault_;
};

}  // namespace

std::string interpret(const Interpretation& what, std::span<const InterpretedRank> ranks) {
  return Interpreter(what, ranks).run();
}

}  // namespace tutti
