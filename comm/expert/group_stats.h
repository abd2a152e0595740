// GroupStats: what the operations of an expert group have sent, done and waited for since somebody
// last asked for a new beginning. WaitClock: how one of them measures its waits.
//
// Thread: the holder of the communicator's drive mutex, as for the operations.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/exec/execution.h"
#include "comm/expert/traffic.h"

namespace tutti {

struct GroupStats {
  // Of `nranks` ranks and `num_experts` experts; the only allocation.
  void make_room(int nranks, uint32_t num_experts);
  void clear();

  ExpertTraffic sent;  // by operations that have succeeded, and by Prepare
  uint64_t staged_bytes = 0;
  uint64_t dispatches = 0;
  uint64_t combines = 0;
  uint64_t dropped = 0;
  uint64_t timeouts = 0;
  std::vector<uint64_t> waited_ns;   // [R]
  std::vector<int64_t> expert_rows;  // [E], the first L of it: by local expert
};

// The time from when an operation could not go on for want of a peer until it could. Asks the clock
// at both ends of that alone: never where nothing blocks, nor at each poll.
class WaitClock {
 public:
  // Before and after each attempt to go on. `blocked`: it did not come to its end.
  void before(const Execution& execution, GroupStats* stats) {
    steps_ = execution.steps_run();
    if (peer_ >= 0 && execution.waiting_for() != peer_) stop(stats);
  }
  void after(const Execution& execution, bool blocked, GroupStats* stats) {
    if (peer_ >= 0 && (!blocked || execution.steps_run() != steps_)) stop(stats);
    if (blocked && peer_ < 0) start(execution.waiting_for());
  }
  // No more attempts.
  void stop(GroupStats* stats);

 private:
  void start(int peer);
  int peer_ = -1;  // that is being waited for
  int64_t since_ns_ = 0;
  uint64_t steps_ = 0;
};

}  // namespace tutti
