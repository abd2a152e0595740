// Runs the plain schedules of all ranks of a collective in one thread over real bytes: the
// yardstick for algorithms that round at every hop, whose results depend on who folds what first.
//
// Messages are copied when sent and matched by order; every reduce step is one call of
// reference_reduce (scalar_reference.h). Nothing of the executor, the passes or the kernels takes
// part; chunk boundaries come from DataLayout, as they are part of what an algorithm is.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "comm/base/types.h"
#include "comm/exec/layout.h"
#include "comm/schedule/catalog.h"

namespace tutti {

// One rank's side of the collective. A buffer that the rank lacks is null.
struct InterpretedRank {
  const DataLayout* layout;
  const uint8_t* input;
  uint8_t* output;
};

struct Interpretation {
  const Algorithm* algorithm;
  int pieces;  // Params::pieces
  int root;
  DataType dtype;
  ReduceOp op;       // a plain fold: sums for avg and pre-multiplied sums
  uint32_t divisor;  // applied in the final reduce of each chunk; 0: none
};

// Runs the collective out of place. Returns what is wrong with the schedules, or "".
std::string interpret(const Interpretation& what, std::span<const InterpretedRank> ranks);

}  // namespace tutti
