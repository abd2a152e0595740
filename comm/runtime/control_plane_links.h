// The private structs of ControlPlane, shared by its two source files.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/runtime/control_plane.h"

namespace tutti {

// Either side may have opened it; both say the same things on it.
struct ControlPlane::Link {
  uint64_t world = 0;
  int self = 0;  // ranks in the world
  int peer = 0;
  std::unique_ptr<Dial> dial;              // while it is being made
  int64_t give_up_ns = 0;                  // then
  std::string waiting;                     // frames to send once it stands
  std::unique_ptr<Connection> connection;  // once it stands
  bool closed = false;

  // Whether it stands, or is being made, from rank `from` (here) to rank `to` of a world.
  bool is_of(uint64_t world_id, int from, int to) const {
    return world == world_id && self == from && peer == to && !closed;
  }
};

struct ControlPlane::WorldState {
  std::shared_ptr<const World> world;
  // Communicators that this rank has left, with the failure that ended them.
  std::map<uint64_t, std::optional<Failure>> ended;
  // What came for a communicator that this rank has not made yet, by sender.
  std::vector<std::pair<int, ControlMessage>> early;
};

struct ControlPlane::Seat {
  Membership m;
  int rank_of(int world_rank) const {
    const auto at = std::find(m.members.begin(), m.members.end(), world_rank);
    return at == m.members.end() ? -1 : static_cast<int>(at - m.members.begin());
  }
};

}  // namespace tutti
