// Schedule: one rank's part of a collective, as data.
//
// Produced for one rank by a pure function of Params (catalog.h). Lanes are in-order lists of
// steps; lanes of two ranks with the same number are joined by FIFO channels, one per direction. A
// Schedule is also the arena its steps live in: clear() keeps the memory. Value type, not
// thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/schedule/rows.h"
#include "comm/schedule/step.h"

namespace tutti {

enum class Collective : uint8_t {
  kAllReduce,
  kReduce,
  kBroadcast,
  kAllGather,
  kReduceScatter,
  kGather,
  kScatter,
  kAllToAll,
  kBarrier,
};
inline constexpr int kNumCollectives = 9;

// Everything a schedule may depend on. `in_place` is a local fact: it may change local steps only,
// never which messages are exchanged (the verifier mixes it between ranks).
struct Params {
  int nranks = 1;
  int rank = 0;
  int root = 0;  // rooted collectives
  bool in_place = false;
  int pieces = 1;                // chunks per block: how finely a pipelined algorithm cuts
  std::span<const int> host_of;  // host partition: host number of each rank; empty: one host
};

// How many chunks each buffer is cut into. A block is a run of chunks that the API fixes (the part
// of one rank in an all-gather, say); collectives without such parts have one block.
struct Shape {
  uint32_t input_blocks = 1;
  uint32_t output_blocks = 1;
  uint32_t chunks_per_block = 1;
  uint32_t scratch_slots = 0;  // each holds one chunk of the largest size
  bool operator==(const Shape&) const = default;
};

struct Lane {
  std::vector<Step> steps;
};

class Schedule {
 public:
  Collective collective = Collective::kBarrier;
  int nranks = 1;
  int rank = 0;
  int root = 0;
  bool in_place = false;
  Shape shape;
  std::vector<Lane> lanes;
  std::vector<Operand> operands;
  Rows rows;  // empty for the collectives of the enum above

  std::span<const Operand> inputs(const Step& s) const {
    return {operands.data() + s.first, s.n_in};
  }
  std::span<const Operand> outputs(const Step& s) const {
    return {operands.data() + s.first + s.n_in, s.n_out};
  }
  std::span<Operand> inputs(const Step& s) { return {operands.data() + s.first, s.n_in}; }
  std::span<Operand> outputs(const Step& s) {
    return {operands.data() + s.first + s.n_in, s.n_out};
  }
  size_t num_steps() const;
  void clear();  // keeps capacity
};

// Same lanes, same steps, same operands, wherever these and their rows lie in their arenas.
bool operator==(const Schedule& a, const Schedule& b);

// Of two steps of schedules with rows: the same operands, row by row, and the same program.
bool same_rows(const Schedule& a, const Step& x, const Schedule& b, const Step& y);

}  // namespace tutti
