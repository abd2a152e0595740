#include "comm/expert/group_stats.h"

#include <algorithm>

#include "comm/base/clock.h"

namespace tutti {

void GroupStats::make_room(int nranks, uint32_t num_experts) {
  waited_ns.assign(static_cast<size_t>(nranks), 0);
  expert_rows.assign(num_experts, 0);
}

void GroupStats::clear() {
  sent = {};
  staged_bytes = dispatches = combines = dropped = timeouts = 0;
  std::fill(waited_ns.begin(), waited_ns.end(), 0);
  std::fill(expert_rows.begin(), expert_rows.end(), 0);
}

void WaitClock::start(int peer) {
  if (peer < 0) return;
  peer_ = peer;
  since_ns_ = now_ns();
}

void WaitClock::stop(GroupStats* stats) {
  if (peer_ < 0) return;
  stats->waited_ns[static_cast<size_t>(peer_)] += static_cast<uint64_t>(now_ns() - since_ns_);
  peer_ = -1;
}

}  // namespace tutti
