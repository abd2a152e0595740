// tuttiEpGetStats: what a group has sent, done and waited for.
#include <algorithm>

#include "comm/api/expert_state.h"

using tutti::Entry;
using tutti::GroupStats;
using tutti::report;
using tutti::Status;

namespace {

constexpr size_t kStatsBytes = sizeof(tuttiEpStats_t);

tuttiEpStats_t stats_of(const GroupStats& from, const tuttiEpHdr_t& hdr) {
  tuttiEpStats_t to = {};
  to.hdr = hdr;
  std::ranges::copy(from.sent.rows, to.rows);
  std::ranges::copy(from.sent.payload_bytes, to.payload_bytes);
  std::ranges::copy(from.sent.meta_bytes, to.meta_bytes);
  to.staged_bytes = from.staged_bytes;
  to.ops[TUTTI_EP_OP_DISPATCH] = from.dispatches;
  to.ops[TUTTI_EP_OP_COMBINE] = from.combines;
  to.dropped = from.dropped;
  to.timeouts = from.timeouts;
  return to;
}

}  // namespace

tuttiResult_t tuttiEpGetStats(tuttiEpGroup_t group, tuttiEpStats_t* stats, uint64_t* peer_wait_ns,
                              int64_t* expert_rows, int reset) {
  const char* const function = "tuttiEpGetStats";
  Status status = tutti::check_group(function, group);
  if (status.ok()) status = tutti::check_struct(function, "stats", stats, kStatsBytes);
  if (!status.ok()) return report(status);
  const Entry entry(group->comm, function, true);
  if (!entry.status().ok()) return report(entry.status());
  tutti::ExpertGroup& inner = *group->group;
  const size_t num_local = inner.placement().experts_of(entry.comm().rank()).size();
  // Operations on streams go on meanwhile, in other threads.
  const tutti::MutexLock lock(entry.comm().drive_mutex());
  GroupStats& all = inner.stats();
  *stats = stats_of(all, stats->hdr);
  if (peer_wait_ns != nullptr) std::ranges::copy(all.waited_ns, peer_wait_ns);
  if (expert_rows != nullptr) std::copy_n(all.expert_rows.begin(), num_local, expert_rows);
  if (reset != 0) all.clear();
  return tuttiSuccess;
}
