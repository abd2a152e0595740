// What the state bits of a pair of rings mean to one end of it. A pure function.
#pragma once

#include <cstdint>

#include "comm/base/status.h"
#include "transports/inproc/domain.h"

namespace tutti {

// Ok, kAborted when this side has ended the pair itself, else kRemoteError naming `peer`. A peer
// that closed its end in good order counts: nothing further will come from it.
Status ring_health(uint32_t state, const RingEnd& end, int peer);

}  // namespace tutti
