// DataLayout: where the chunks of a schedule lie in the caller's buffers, for one set of counts.
//
// The only place that knows about uneven tails and rounds. A buffer is a list of blocks; a round
// takes the same share of every block and cuts it into chunks whose length is a whole number of
// cache lines, so that only the last chunk of a block is short. A payload whose chunks would be too
// long, or too many for the scratch that an algorithm needs, runs in several rounds. Value type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/schedule/schedule.h"

namespace tutti {

// A stretch of bytes, relative to the start of a buffer.
struct Extent {
  size_t offset;
  size_t bytes;
};

// The blocks of one buffer, in elements. With equal blocks `counts` and `displs` are empty.
struct BlockList {
  uint32_t num = 1;
  size_t each = 0;  // elements of every block, when equal
  std::vector<size_t> counts;
  std::vector<size_t> displs;

  size_t count(uint32_t block) const { return counts.empty() ? each : counts[block]; }
  size_t start(uint32_t block) const { return displs.empty() ? each * block : displs[block]; }
  size_t largest() const;
  size_t total() const;
  bool operator==(const BlockList&) const = default;
};

class DataLayout {
 public:
  // `scratch_slots`: the most that any rank may use, equal on all ranks because the number of
  // rounds follows from it (0: one round). `scratch_cap`: bytes they may take together.
  // `most_bytes`: of a chunk, whatever the scratch holds; equal on all ranks too.
  DataLayout(BlockList input, BlockList output, uint32_t chunks_per_block, size_t element_bytes,
             uint32_t scratch_slots, size_t scratch_cap, size_t most_bytes = SIZE_MAX);

  uint32_t rounds() const { return rounds_; }
  size_t slot_bytes() const { return slot_bytes_; }  // distance of scratch slots
  size_t element_bytes() const { return element_bytes_; }
  size_t total_bytes() const { return total_bytes_; }  // of all blocks of both buffers
  // Chunk `chunk` of input or output in `round`; empty past the end of its block.
  Extent chunk(Buffer buffer, uint32_t chunk, uint32_t round) const;

 private:
  size_t chunk_elements(size_t elements) const;  // of a block share of `elements`
  BlockList input_;
  BlockList output_;
  uint32_t chunks_per_block_;
  size_t element_bytes_;
  size_t line_elements_;   // elements of a cache line
  size_t round_elements_;  // share of a block per round
  uint32_t rounds_ = 1;
  size_t slot_bytes_ = 0;
  size_t total_bytes_ = 0;
};

}  // namespace tutti
