// How a communicator ends on the links of an endpoint, whatever its peers are doing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "transports/ring/door.h"
#include "transports/ring/link.h"

namespace tutti {

// Ends `comm` on all links of an endpoint, at the same epoch everywhere, so that a peer that comes
// later sees it too. Returns when no peer is inside a kernel of it any more; the memory offered to
// those that still are after `patience_ns` is replaced. Says in words what of it could not be.
std::string end_communicator(const std::vector<std::shared_ptr<RingLink>>& links, uint64_t comm,
                             OwnDoor::Reach reach, int64_t patience_ns);

}  // namespace tutti
