// On which memory node the rings of a link lie: each on that of the rank that reads it. A reader
// polls; a writer's stores go to its cache in any case. Pure, but for place_rings().
#pragma once

#include <array>
#include <cstddef>

#include "transports/ring/link.h"
#include "transports/shm/nodes.h"
#include "transports/shm/segment.h"

namespace tutti {

// Whole pages of a RingBlock.
struct RingStretch {
  size_t offset;
  size_t bytes;
  int reader;  // the side
};

inline constexpr size_t kStretchesPerPair = 4;

// The page that both rings share, where their first messages and their counts are (ring.h), goes
// with side 1; so does the one that both spills share, and the one where the slots of side 0 end
// and the spill of side 1 begins. The entries, which both sides write and rarely, have no place.
std::array<RingStretch, kStretchesPerPair * kBlockPairs> ring_stretches();

// Of the block at `offset` in the segment, before anybody has touched it. `nodes`: by side; -1 for
// one that does not care.
void place_rings(MemoryNodes& system, const Segment& segment, size_t offset,
                 const std::array<int, 2>& nodes);

}  // namespace tutti
