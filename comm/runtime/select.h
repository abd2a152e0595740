// Which algorithm runs a call: a function of what all ranks share, and nothing else. The choices
// are the rows of selection_table.h.
#pragma once

#include <cstddef>

#include "comm/base/config.h"
#include "comm/runtime/selection_table.h"
#include "comm/schedule/catalog.h"

namespace tutti {

struct Choice {
  const Algorithm* algorithm;
  int pieces;  // Params::pieces
  // The most of a chunk that a round takes where receivers read messages where they lie
  // (Capabilities::view); kAnyBytes: all of it.
  size_t round_bytes;
};

// `bytes`: of one block (the whole payload where there are no blocks). `counts_known`: every rank
// knows every block. A setting in config.algorithms wins where it can run the call.
Choice select(const Config& config, MachineClass machine, Collective collective, size_t bytes,
              int nranks, bool counts_known);

// The most scratch slots any rank needs, in place or not: the number of rounds follows from it, so
// it must not depend on one rank's facts. 0 for collectives that never run in rounds.
uint32_t scratch_slots_bound(const Algorithm& algorithm, int nranks);

// Checks the names in config.algorithms against the catalogue.
Status check_algorithms(const Config& config);

}  // namespace tutti
