// What stands behind the C handles, and what is per thread.
//
// A handle is never freed: destroying it empties it and leaves the shell in the list of the Process
// owner below, so that a call on a destroyed communicator is an error and not a crash.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tutti/tutti.h"

#include "comm/base/status.h"
#include "comm/runtime/communicator.h"
#include "comm/runtime/creation.h"
#include "comm/runtime/process.h"

struct tuttiWindow {
  tuttiComm* comm;
  uint64_t registration;
};

struct tuttiComm {
  static constexpr uint32_t kAlive = 0x54434f4d;
  static constexpr uint32_t kCreating = 0x54434e57;
  static constexpr uint32_t kFailed = 0x54434641;
  static constexpr uint32_t kDestroyed = 0x54434445;

  std::atomic<uint32_t> state{kAlive};
  tutti::BiasedMutex inside;     // held by the thread that is, never waited for
  std::atomic<int> recorded{0};  // calls that groups hold
  tutti::Mutex settling;         // held while a creation hands over
  std::atomic<bool> finalized{false};
  int blocking = 1;
  std::unique_ptr<tutti::Communicator> comm;
  std::unique_ptr<tutti::Creation> creation;  // how it came to be, when that took time
  tutti::Status creation_error;               // when kFailed
  struct Operator {
    tutti::DataType dtype;
    tutti::Scalar scalar;
  };
  std::map<int, Operator> operators;
  std::unordered_map<tuttiWindow*, std::unique_ptr<tuttiWindow>> windows;
  uint64_t splits = 0;  // CommSplit calls so far
  uint32_t expert_groups_made = 0;
  int expert_groups = 0;  // of those, alive
  tutti::Mutex grouping;
  // CommCreateGroup calls by members and tag.
  std::map<std::string, uint64_t> groups TUTTI_GUARDED_BY(grouping);
};

namespace tutti {

// The Process object, made on first use; and the shells of all handles. Null in a forked child: its
// handles belong to the parent.
Process* process();
// kForked where process() is null.
Status check_process();
tuttiComm* new_handle();

// A call recorded by a group. Its communicator cannot be destroyed meanwhile.
struct GroupedCall {
  GroupedCall(tuttiComm* c, const Order& o, std::unique_ptr<Operation> op, bool b);
  GroupedCall(GroupedCall&& other) noexcept;
  ~GroupedCall();
  GroupedCall(const GroupedCall&) = delete;
  GroupedCall& operator=(const GroupedCall&) = delete;
  GroupedCall& operator=(GroupedCall&&) = delete;

  tuttiComm* comm;  // null once moved from
  Order order;
  std::unique_ptr<Operation> operation;
  bool blocking;  // stream NULL: GroupEnd waits for it
};

struct ThreadState {
  std::string last_error;
  std::string comm_error;  // what tuttiGetLastError points at for a communicator
  int group_depth = 0;
  Status group_error;
  std::vector<GroupedCall> grouped;
};
ThreadState& thread_state();

// Remembers a failure as the thread's last error and translates it. Inside a group it also becomes
// the group's error.
tuttiResult_t report(const Status& status);

// Entry of every call on a communicator: checks the handle and keeps other threads out while it
// lives.
class Entry {
 public:
  // Ready communicators only, unless `any_state`.
  Entry(tuttiComm_t handle, const char* function, bool any_state = false);
  ~Entry();
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  const Status& status() const { return status_; }
  Communicator& comm() const { return *handle_->comm; }
  tuttiComm& handle() const { return *handle_; }

 private:
  tuttiComm* handle_;
  bool entered_ = false;
  Status status_;
};

// Takes over from a non-blocking creation that has ended. Any thread.
void settle_creation(tuttiComm& handle);
inline void settle(tuttiComm& handle) {
  if (handle.state.load(std::memory_order_acquire) == tuttiComm::kCreating) settle_creation(handle);
}

// The checks of Entry that any thread may make at any time.
Status check_handle(tuttiComm_t handle, const char* function);
// And whether the communicator is ready and well. After check_handle() and settle().
Status check_ready(const tuttiComm& handle, const char* function);

}  // namespace tutti
