// Sweep: one catalogued algorithm at one number of ranks, verified in every way it can be called.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "comm/schedule/catalog.h"
#include "comm/verify/verifier.h"

namespace tutti {

struct SweepResult {
  uint64_t cases = 0;        // schedules of all ranks verified
  uint32_t slots = 0;        // smallest K with which every executed form ends
  uint32_t plain_slots = 0;  // the same before fusing
  std::optional<Defect> defect;
  std::string failed_case;  // "n 5, root 2, in place on odd ranks, fused"
};

// Roots {0, 1, n/2, n-1} of rooted collectives; in place on no rank, on all and on the odd ones;
// 1 and 3 pieces where the algorithm cuts its data; as written, and fused with offers; each for two
// rounds with the smallest K. Stops at the first defect.
SweepResult sweep(const Algorithm& algorithm, int nranks, Verifier* verifier);

}  // namespace tutti
