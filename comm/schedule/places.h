// What the passes ask about places: which chunks of memory a place covers, once in-place sharing of
// input and output is taken into account, and whether two places can overlap.
#pragma once

#include <vector>

#include "comm/schedule/contract.h"
#include "comm/schedule/schedule.h"

namespace tutti {

// Numbers every chunk of memory of one rank: outputs first, then inputs that are not shared with
// the output, then scratch slots.
class ChunkMap {
 public:
  explicit ChunkMap(const Schedule& s) : schedule_(s) {
    const Shape& shape = s.shape;
    num_outputs_ = shape.output_blocks * shape.chunks_per_block;
    num_inputs_ = shape.input_blocks * shape.chunks_per_block;
  }
  uint32_t num_outputs() const { return num_outputs_; }
  uint32_t size() const { return num_outputs_ + num_inputs_ + schedule_.shape.scratch_slots; }

  uint32_t number(Buffer buffer, uint32_t chunk) const {
    switch (buffer) {
      case Buffer::kOutput:
        return chunk;
      case Buffer::kScratch:
        return num_outputs_ + num_inputs_ + chunk;
      default:
        break;
    }
    if (schedule_.in_place) {
      const int64_t shared = aliased_output(schedule_, chunk);
      if (shared >= 0) return static_cast<uint32_t>(shared);
    }
    return num_outputs_ + chunk;
  }

  // Calls visit(number) for each chunk of the operand's place.
  template <typename Visit>
  void each(const Step& step, const Operand& operand, Visit visit) const {
    for (uint32_t i = 0; i < step.data_nchunks; ++i)
      visit(number(operand.buffer, operand.chunk + i));
  }

 private:
  const Schedule& schedule_;
  uint32_t num_outputs_ = 0;
  uint32_t num_inputs_ = 0;
};

inline bool same_place(const Operand& a, const Operand& b) {
  return a.buffer == b.buffer && a.chunk == b.chunk;
}

}  // namespace tutti
