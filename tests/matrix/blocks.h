// Which blocks of which buffers a call of the matrix uses on each rank: counts and displacements.
//
// Uneven calls get blocks of 0, 1, some and the most elements, laid out in another order than the
// ranks', with gaps between them. Pure functions.
#pragma once

#include "comm/exec/layout.h"
#include "tests/matrix/case.h"

namespace tutti {

// The two sides of one rank. A buffer that the rank lacks has no elements.
struct Blocks {
  BlockList input;
  BlockList output;
};

// `most`: elements of the largest block.
Blocks blocks_of(const Case& c, bool symmetric, size_t most, int rank);

// End of the last block, in elements.
size_t extent_of(const BlockList& blocks);

// Block `block` of rank's output is block `from_block` of `from`'s input (calls that move data).
struct Origin {
  int from;
  uint32_t from_block;
};
Origin origin_of(const Case& c, int rank, uint32_t block);

// Where the chunks of the case's algorithm lie on `rank`, and the `pieces` it runs with: what the
// library binds, where ranks without a buffer count its blocks too; but for rounds that only make
// messages shorter (Choice::round_bytes), on which no bit of a result depends.
DataLayout layout_of(const Case& c, bool symmetric, size_t most, int rank, int* pieces);

// Elements of the largest block for the case's count. Checks that the rounds come out as asked.
size_t elements_of(const Case& c);

}  // namespace tutti
