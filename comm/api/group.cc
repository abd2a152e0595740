// tuttiGroupStart, tuttiGroupEnd: what a thread calls in between runs as one.
#include <algorithm>
#include <utility>
#include <vector>

#include "comm/api/state.h"
#include "comm/base/wait.h"

namespace tutti {

namespace {

// Keeps other threads out of all communicators of a group, or says which one is busy.
class GroupEntry {
 public:
  explicit GroupEntry(const std::vector<GroupedCall>& calls) {
    for (const GroupedCall& call : calls) {
      if (std::find(comms_.begin(), comms_.end(), call.comm) != comms_.end()) continue;
      if (!call.comm->inside.try_lock()) {
        status_ = error(Code::kConcurrentUse, "tuttiGroupEnd: another thread is inside %s",
                        call.comm->comm->who().c_str());
        return;
      }
      comms_.push_back(call.comm);
    }
  }
  ~GroupEntry() {
    for (tuttiComm* comm : comms_) comm->inside.unlock();
  }
  GroupEntry(const GroupEntry&) = delete;
  GroupEntry& operator=(const GroupEntry&) = delete;
  const Status& status() const { return status_; }
  const std::vector<tuttiComm*>& comms() const { return comms_; }

 private:
  std::vector<tuttiComm*> comms_;
  Status status_;
};

void enqueue_all(std::vector<GroupedCall>& calls) {
  for (GroupedCall& call : calls) {
    if (call.blocking) {
      call.comm->comm->enqueue(call.order, call.operation.get());
    } else {
      call.comm->comm->enqueue(call.order, std::move(call.operation));
      process()->engine().add(call.comm->comm.get());
    }
  }
}

bool all_finished(const std::vector<GroupedCall>& calls) {
  return std::all_of(calls.begin(), calls.end(), [](const GroupedCall& call) {
    return !call.blocking || call.operation->finished.load(std::memory_order_acquire);
  });
}

Status run_group(std::vector<GroupedCall>& calls) {
  const GroupEntry entry(calls);
  if (!entry.status().ok()) return entry.status();
  enqueue_all(calls);
  WaitRungs rungs;
  for (tuttiComm* comm : entry.comms()) {
    rungs.spins = std::min(rungs.spins, comm->comm->rungs().spins);
  }
  WaitLadder ladder(rungs);
  bool look_closer = false;
  // At least once: what nobody waits for is begun.
  do {
    for (tuttiComm* comm : entry.comms()) {
      MutexLock lock(comm->comm->drive_mutex());
      comm->comm->poll();
      if (look_closer) comm->comm->check();
    }
    look_closer = ladder.tick();
  } while (!all_finished(calls));
  for (const GroupedCall& call : calls) {
    if (call.blocking && !call.operation->result.ok()) return call.operation->result;
  }
  return Status();
}

}  // namespace

}  // namespace tutti

using tutti::report;
using tutti::Status;
using tutti::thread_state;

tuttiResult_t tuttiGroupStart(void) {
  const Status ok = tutti::check_process();
  if (!ok.ok()) return report(ok);
  ++thread_state().group_depth;
  return tuttiSuccess;
}

tuttiResult_t tuttiGroupEnd(void) {
  const Status ok = tutti::check_process();
  if (!ok.ok()) return report(ok);
  tutti::ThreadState& thread = thread_state();
  if (thread.group_depth == 0) {
    return report(
        tutti::error(tutti::Code::kInvalidUsage, "tuttiGroupEnd without tuttiGroupStart"));
  }
  if (--thread.group_depth > 0) return tuttiSuccess;
  std::vector<tutti::GroupedCall> calls = std::move(thread.grouped);
  thread.grouped.clear();
  const Status error = std::exchange(thread.group_error, Status());
  // One bad call and nothing of the group has happened.
  if (!error.ok()) return report(error);
  return report(tutti::run_group(calls));
}
