#include "comm/api/state.h"

#include <cstdlib>
#include <deque>
#include <new>
#include <pthread.h>
#include <utility>

namespace tutti {

static_assert(static_cast<int>(Code::kInternalError) == tuttiInternalError);
static_assert(static_cast<int>(Code::kForked) == tuttiForked);
static_assert(static_cast<int>(DataType::kBool) == tuttiBool);
static_assert(static_cast<int>(ReduceOp::kBxor) == tuttiBxor);

namespace {

// The one static of Tutti. A forked child keeps the memory but not the threads of its parent, so
// there the owner only remembers that it is one.
struct Owner {
  Process process;
  Mutex mutex;
  std::deque<tuttiComm> handles TUTTI_GUARDED_BY(mutex);
};

std::atomic<bool> forked{false};

Owner* owner();

// Memory that peers can map stays the parent's; a child of a child is left alone.
void watch_forks() {
  pthread_atfork(
      [] {
        if (process() != nullptr) owner()->process.before_fork();
      },
      [] {
        if (process() != nullptr) owner()->process.after_fork_in_parent();
      },
      [] { owner()->process.after_fork_in_child(); });
}

Owner* owner() {
  static Owner* const instance = [] {
    pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
    auto* made = new Owner;
    watch_forks();
    // Joins our threads before the C++ runtime goes. Never in a child: nothing to join.
    std::atexit([] {
      if (!forked.load(std::memory_order_relaxed)) owner()->process.stop();
    });
    return made;
  }();
  return instance;
}

}  // namespace

Process* process() {
  if (forked.load(std::memory_order_relaxed)) return nullptr;
  return &owner()->process;
}

Status check_process() {
  try {
    if (process() != nullptr) return Status();
  } catch (const std::bad_alloc&) {  // the first call makes it; C callers know no exceptions
    return error(Code::kOutOfMemory, "no memory to begin with");
  }
  return error(Code::kForked, "Tutti was used before fork(): start a new program in the child");
}

tuttiComm* new_handle() {
  MutexLock lock(owner()->mutex);
  return &owner()->handles.emplace_back();
}

namespace {

// Every call looks at it: one load, and not, as a thread_local with a constructor would cost in a
// shared object, two calls and a guard.
__attribute__((tls_model("initial-exec"))) constinit thread_local ThreadState* own_state = nullptr;

ThreadState& make_thread_state() {
  thread_local ThreadState state;
  own_state = &state;
  return state;
}

}  // namespace

ThreadState& thread_state() { return own_state != nullptr ? *own_state : make_thread_state(); }

tuttiResult_t report(const Status& status) {
  if (status.ok()) return tuttiSuccess;
  ThreadState& state = thread_state();
  state.last_error = status.text();
  if (state.group_depth > 0 && state.group_error.ok()) state.group_error = status;
  return static_cast<tuttiResult_t>(status.code());
}

namespace {

// What is wrong with a handle that is not alive; kOk for one that is on the way or has failed.
[[gnu::cold]] Status why_no_handle(tuttiComm_t handle, const char* function) {
  TUTTI_TRY(check_process());
  if (handle == nullptr) return error(Code::kInvalidArgument, "%s: comm is NULL", function);
  switch (handle->state.load(std::memory_order_acquire)) {
    case tuttiComm::kAlive:
    case tuttiComm::kCreating:
    case tuttiComm::kFailed:
      return Status();
    case tuttiComm::kDestroyed:
      return error(Code::kInvalidArgument, "%s: the communicator has been destroyed", function);
    default:
      return error(Code::kInvalidArgument, "%s: comm is not a communicator", function);
  }
}

[[gnu::cold]] Status why_not_ready(const tuttiComm& handle, const char* function) {
  switch (handle.state.load(std::memory_order_acquire)) {
    case tuttiComm::kCreating:
      return error(Code::kInvalidUsage,
                   "%s: the communicator is still being created: wait until "
                   "tuttiCommGetAsyncError says tuttiSuccess",
                   function);
    case tuttiComm::kFailed:
      return handle.creation_error;
    default:
      break;
  }
  TUTTI_TRY(handle.comm->error());
  if (!handle.finalized.load(std::memory_order_relaxed)) return Status();
  return error(Code::kInvalidUsage, "%s: %s was finalized", function, handle.comm->who().c_str());
}

// Whether they have nothing to say: so with almost every call.
inline bool is_alive(tuttiComm_t handle) {
  return !forked.load(std::memory_order_relaxed) && handle != nullptr &&
         handle->state.load(std::memory_order_acquire) == tuttiComm::kAlive;
}
inline bool is_ready(const tuttiComm& handle) {
  return handle.state.load(std::memory_order_acquire) == tuttiComm::kAlive &&
         !handle.comm->in_trouble() && !handle.finalized.load(std::memory_order_relaxed);
}

}  // namespace

Status check_handle(tuttiComm_t handle, const char* function) {
  return is_alive(handle) ? Status() : why_no_handle(handle, function);
}

Status check_ready(const tuttiComm& handle, const char* function) {
  return is_ready(handle) ? Status() : why_not_ready(handle, function);
}

void settle_creation(tuttiComm& handle) {
  MutexLock lock(handle.settling);
  if (handle.state.load(std::memory_order_acquire) != tuttiComm::kCreating) return;
  if (!handle.creation->ended()) return;
  process()->engine().remove(handle.creation.get());
  handle.creation_error = handle.creation->result();
  handle.comm = handle.creation->take();
  handle.state.store(
      handle.creation_error.ok() && handle.comm ? tuttiComm::kAlive : tuttiComm::kFailed,
      std::memory_order_release);
}

GroupedCall::GroupedCall(tuttiComm* c, const Order& o, std::unique_ptr<Operation> op, bool b)
    : comm(c), order(o), operation(std::move(op)), blocking(b) {
  comm->recorded.fetch_add(1, std::memory_order_relaxed);
}

GroupedCall::GroupedCall(GroupedCall&& other) noexcept
    : comm(std::exchange(other.comm, nullptr)),
      order(other.order),
      operation(std::move(other.operation)),
      blocking(other.blocking) {}

GroupedCall::~GroupedCall() {
  if (comm == nullptr) return;
  if (operation) comm->comm->discard(std::move(operation));
  // release: our last use of the communicator; pairs with the acquire in tuttiCommDestroy.
  comm->recorded.fetch_sub(1, std::memory_order_release);
}

Entry::Entry(tuttiComm_t handle, const char* function, bool any_state) : handle_(handle) {
  if (!is_alive(handle)) status_ = why_no_handle(handle, function);
  if (!status_.ok()) return;
  if (!handle->inside.try_lock()) {
    status_ =
        error(Code::kConcurrentUse, "%s: another thread is inside this communicator", function);
    return;
  }
  entered_ = true;
  if (is_ready(*handle)) return;
  settle(*handle);
  if (!any_state) status_ = check_ready(*handle, function);
}

Entry::~Entry() {
  if (entered_) handle_->inside.unlock();
}

}  // namespace tutti
