#include "transports/ring/ending.h"

#include <algorithm>

#include "comm/base/clock.h"
#include "comm/base/wait.h"

namespace tutti {
namespace {

constexpr WaitRungs kRungs = {0, 200};

// Whether the peer has come out of its kernels of `comm` by the deadline, or is no more.
bool comes_out(RingLink& link, const Door& door, uint64_t comm, const Deadline& deadline) {
  WaitLadder ladder(kRungs);
  while (is_inside(door, comm)) {
    ladder.tick();
    if (link.is_peer_gone()) return true;
    if (deadline.expired(now_ns())) return false;
  }
  return true;
}

}  // namespace

std::string end_communicator(const std::vector<std::shared_ptr<RingLink>>& links, uint64_t comm,
                             OwnDoor::Reach reach, int64_t patience_ns) {
  uint32_t epoch = 0;
  for (const auto& link : links) epoch = std::max(epoch, link->highest_epoch(comm));
  bool fenceless = false;
  for (const auto& link : links) {
    link->abort(comm, epoch);
    Door* door = link->peer_door();
    if (door == nullptr) continue;
    close_door(door, comm);
    fenceless = fenceless || door->fenceless.load(std::memory_order_acquire) != 0;
  }
  pass_barrier(reach, fenceless);
  const Deadline deadline = Deadline::after_ns(patience_ns);
  std::string kept;
  for (const auto& link : links) {
    const Door* door = link->peer_door();
    if (door == nullptr || comes_out(*link, *door, comm, deadline)) continue;
    kept += link->take_back_offers(comm);
  }
  return kept;
}

}  // namespace tutti
