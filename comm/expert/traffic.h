// What dispatch, combine and Prepare send: counted in the messages of a bound plan, so that it
// cannot differ from what travels. Values; a plain function.
#pragma once

#include <array>
#include <cstdint>

#include "comm/exec/plan.h"
#include "comm/expert/placement.h"

namespace tutti {

// By tier: 0 what a rank keeps, 1 what it sends inside its node, 2 what it sends to other nodes.
struct ExpertTraffic {
  using Tiers = std::array<uint64_t, 3>;
  Tiers rows = {};
  Tiers payload_bytes = {};
  Tiers meta_bytes = {};
  void add(const ExpertTraffic& more);
};

// Of one run of `plan` on `rank`. Of a plan of rows: main rows are rows, they and their scales are
// payload, and numbers for each assignment metadata; what the rank keeps are inputs of its own of
// the steps that write its output. Of any other plan, everything is metadata.
ExpertTraffic traffic_of(const Plan& plan, const Placement& placement, int rank);

}  // namespace tutti
