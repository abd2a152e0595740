// Communicator: one rank's handle on a group of ranks: its orders of operations, its channels, its
// plans, and what happens when one of them fails.
//
// Threads. One API thread at a time (the caller guards that). Whoever advances
// operations holds drive_mutex(): the API thread while it waits, the progress thread or a thread
// that synchronises on a stream otherwise. abort(), error() and the constant facts: any thread.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/base/config.h"
#include "comm/base/log.h"
#include "comm/base/mutex.h"
#include "comm/device/device.h"
#include "comm/runtime/collective_operation.h"
#include "comm/runtime/control.h"
#include "comm/runtime/engine.h"
#include "comm/runtime/plans.h"
#include "comm/runtime/point_to_point.h"
#include "comm/runtime/sequencer.h"
#include "transports/waiter.h"

namespace tutti {

struct World;

// What a communicator is made of. References outlive it.
struct CommunicatorParts {
  uint64_t id = 0;
  int rank = 0;
  std::vector<int> peers;                       // transport-wide number of each rank
  HostShare host;                               // of those that may be running, in it or not
  MachineClass machine = MachineClass::kCores;  // of all hosts of the job: the same on every rank
  std::shared_ptr<Transport> transport;         // one endpoint, shared by a rank's communicators
  std::shared_ptr<std::atomic<int>> open;       // counts communicators on it that are not finalised
  std::shared_ptr<const World> world;           // of ranks in several processes; null within one
  std::unique_ptr<KernelGate> gate;             // of the transport
  std::unique_ptr<Control> control;             // after world: goes first
  Config config;
  std::string name;
  const Device* device = nullptr;
  size_t cache_bytes = 0;  // of the last-level cache
  Log log;
};

// What other threads than the caller's advance.
inline constexpr const char* kStreamOperations = "operations on a stream";
inline constexpr const char* kNonBlockingCreation = "creations that do not block";

// kInvalidUsage where only one thread may call `transport` and `what` would need another one.
Status check_any_thread(const Transport& transport, const std::string& who, const char* what);

class Communicator final : public Pollable {
 public:
  // Makes `parts.gate`.
  static Result<std::unique_ptr<Communicator>> create(CommunicatorParts parts);
  ~Communicator() override;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return parts_.rank; }
  int nranks() const { return static_cast<int>(parts_.peers.size()); }
  uint64_t id() const { return parts_.id; }
  const CommunicatorParts& parts() const { return parts_; }
  const Config& config() const { return parts_.config; }

  // Makes the operation of a validated call, ready to be queued.
  Result<std::unique_ptr<Operation>> make(CollectiveCall&& call);
  Result<std::unique_ptr<Operation>> make_send(const PointToPoint& message);
  Result<std::unique_ptr<Operation>> make_recv(const PointToPoint& message, int* source);
  // Frees an operation that was made but not queued, or that has finished. Any thread, never waits.
  void discard(std::unique_ptr<Operation> operation);
  // Queues an operation; an owned one is freed when it is finished.
  void enqueue(const Order& order, std::unique_ptr<Operation> operation);
  void enqueue(const Order& order, Operation* operation);

  // A collective with nothing before it, run on the spot: the path of a blocking call.
  Status run(CollectiveCall&& call);
  // Advances until `operation` (queued here) is finished; returns its result.
  Status wait(Operation& operation);
  // Advances until `over()`, which is asked under the drive mutex; returns what ended the
  // communicator before that.
  template <typename Over>
  Status wait_for(Over over) {
    MutexLock lock(drive_mutex_);
    Waiter waiter(transport(), rungs_);
    while (!over()) {
      TUTTI_TRY(error());
      const uint64_t before = steps_run();
      poll();
      if (steps_run() != before) waiter.reset();
      if (!over() && waiter.tick()) check();
    }
    return Status();
  }
  // Advances until nothing is queued; then, for the last communicator on its transport, ends that
  // in good order.
  Status finalize();

  // For the engine: one pass over all orders, unless another thread is at it.
  bool poll_once() override;
  // One pass over all orders.
  void poll() TUTTI_REQUIRES(drive_mutex_);
  // The slow checks: abort, failures of peers, deadlines. Ends the communicator when one hits.
  void check() TUTTI_REQUIRES(drive_mutex_);
  BiasedMutex& drive_mutex() TUTTI_THREAD_ANNOTATION(lock_returned(drive_mutex_)) {
    return drive_mutex_;
  }
  bool idle() const { return pending_.load(std::memory_order_acquire) == 0; }
  // As idle(), but waits for a thread that has just ended the last operation to be out of here.
  bool drained();
  WaitRungs rungs() const { return rungs_; }
  // kInvalidUsage where `what` would need threads that may not call the transport.
  Status check_any_thread(const char* what) const;

  void abort();
  // Whether error() has something to tell. Any thread, cheap.
  bool in_trouble() const {
    return ended_.load(std::memory_order_acquire) ||
           abort_requested_.load(std::memory_order_acquire) || parts_.control->failed();
  }
  // What ended the communicator, here or at a peer; ok while it is alive. The text names the memory
  // that the transport may still touch (Transport::still_lent) at this moment.
  Status error() const;

  // After error() has told something: the rank that was waited for in vain, or else the one that
  // has told of a failure; -1: none. Any thread.
  int culprit() const;

  // Creations of other communicators that still need this one.
  std::atomic<int> creations{0};

  // For operations, under the drive mutex.
  Execution& execution() { return execution_; }
  // Of executions of their own: that they have moved, so that a waiter begins anew.
  void count_steps(uint64_t more) { other_steps_ += more; }
  Plans& plans() { return plans_; }
  Control& control() { return *parts_.control; }
  KernelGate& gate() { return *parts_.gate; }
  const Control& control() const { return *parts_.control; }
  Transport& transport() { return *parts_.transport; }
  const Device& device() const { return *parts_.device; }
  std::deque<SendOperation*>& self_sends(uint64_t tag) { return self_sends_[tag]; }
  Result<void*> scratch(size_t bytes);
  OpHeader header(uint64_t sequence, uint64_t fingerprint) const {
    return {static_cast<uint32_t>(parts_.id ^ parts_.id >> 32), static_cast<uint32_t>(sequence),
            fingerprint};
  }
  // The text of a message that belongs to another call, naming both.
  Status mismatch(const CollectiveOperation& mine, const Execution::Surprise& got);
  std::string who() const;  // "rank 2 of 4"

 private:
  void end(const Status& why, bool tell_peers, int culprit = -1) TUTTI_REQUIRES(drive_mutex_);
  void end_if_stuck(Operation& operation, const Status& why, int peer) TUTTI_REQUIRES(drive_mutex_);
  // Whether to wait a little longer for what `rank`, whose channel has ended, has to say of it.
  bool explanation_may_come(int rank) TUTTI_REQUIRES(drive_mutex_);
  // Why `operation` cannot go on, as its channels or the other ranks tell; else ok.
  Status health_of(const Operation& operation, int* peer) const TUTTI_REQUIRES(drive_mutex_);
  // Ends the communicator because a channel for `what` cannot be opened; returns why.
  Status cannot_start(const std::string& what, const Status& why) TUTTI_REQUIRES(drive_mutex_);
  Status timeout_of(const Operation& operation) const;
  Status with_lent(const Status& why) const;
  // The earliest remembered call that another rank made differently; ok when there is none.
  Status disagreement() const;
  Status from_peer(const Failure& failure) const;
  int culprit_of(const Failure& failure) TUTTI_REQUIRES(drive_mutex_);
  Status drain();
  uint64_t steps_run() const { return execution_.steps_run() + other_steps_; }
  Status wait_locked(Operation& operation) TUTTI_REQUIRES(drive_mutex_);
  // For lambdas that run under the drive mutex, which the compiler cannot know.
  void assert_held() const TUTTI_THREAD_ANNOTATION(assert_capability(drive_mutex_)) {}
  void count_pending() TUTTI_REQUIRES(drive_mutex_) {
    pending_.store(sequencer_.pending(), std::memory_order_release);
  }

  explicit Communicator(CommunicatorParts parts);

  CommunicatorParts parts_;
  WaitRungs rungs_;
  Plans plans_;
  PointToPointChannels point_to_point_;
  BiasedMutex drive_mutex_;
  Sequencer sequencer_ TUTTI_GUARDED_BY(drive_mutex_);
  Execution execution_;
  uint64_t other_steps_ = 0;
  std::map<uint64_t, std::deque<SendOperation*>> self_sends_;
  uint64_t next_sequence_ = 0;
  int64_t unexplained_since_ns_ = 0;  // since then a channel is known to have ended; 0: none
  bool counted_ = true;               // among those of parts_.open
  Mutex discarded_mutex_;
  // What discard() could not free because another thread was inside.
  std::vector<std::unique_ptr<Operation>> discarded_ TUTTI_GUARDED_BY(discarded_mutex_);
  std::atomic<size_t> pending_{0};
  std::atomic<bool> abort_requested_{false};
  void* scratch_ = nullptr;  // of the transport, so that peers reach it
  size_t scratch_bytes_ = 0;
  std::atomic<bool> ended_{false};  // release after ended_why_; pairs with acquire in error()
  mutable Mutex ended_mutex_;
  Status ended_why_ TUTTI_GUARDED_BY(ended_mutex_);
  int culprit_ TUTTI_GUARDED_BY(ended_mutex_) = -1;
};

}  // namespace tutti
