#include "comm/runtime/communicator.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "transports/waiter.h"

namespace tutti {
namespace {

// Where ranks share cores each of these lets the others run.
constexpr uint32_t kUncheckedYields = 64;

// Where they do not. The rung stays as long as it is, some 20 us: the system may let two ranks run
// on one core all the same.
constexpr uint32_t kLooks = 16;

WaitRungs rungs_of(const CommunicatorParts& parts) {
  WaitRungs rungs = rungs_for(parts.transport->capabilities().rungs, parts.host);
  rungs.spins /= kLooks;
  return rungs;
}

}  // namespace

Status check_any_thread(const Transport& transport, const std::string& who, const char* what) {
  const Capabilities& can = transport.capabilities();
  if (can.any_thread) return Status();
  return error(
      Code::kInvalidUsage,
      "%s: %s need a transport that any thread may call, and %s runs at %s in this process",
      who.c_str(), what, transport.name(), can.thread_level);
}

Result<std::unique_ptr<Communicator>> Communicator::create(CommunicatorParts parts) {
  Result<std::unique_ptr<KernelGate>> gate = parts.transport->open_gate(parts.id);
  if (!gate.ok()) return gate.status();
  parts.gate = std::move(gate.value());
  return std::unique_ptr<Communicator>(new Communicator(std::move(parts)));
}

Communicator::Communicator(CommunicatorParts parts)
    : parts_(std::move(parts)),
      rungs_(rungs_of(parts_)),
      plans_(*parts_.transport, parts_.id, parts_.rank, parts_.peers, parts_.config, parts_.machine,
             parts_.cache_bytes),
      point_to_point_(*parts_.transport, parts_.id, parts_.peers),
      execution_(rungs_.spins > 0 ? kLooks : 0) {
  if (parts_.open) parts_.open->fetch_add(1, std::memory_order_acq_rel);
  const int threads = parts_.config.threads;
  if (threads > 1 && threads > parts_.host.cores / parts_.host.ranks) {
    parts_.log.warn_once("threads",
                         "%s: %d threads (TUTTI_THREADS) for each of %d ranks of this host, which "
                         "have %d cores together",
                         who().c_str(), threads, parts_.host.ranks, parts_.host.cores);
  }
}

Communicator::~Communicator() {
  if (counted_ && parts_.open) parts_.open->fetch_sub(1, std::memory_order_acq_rel);
  MutexLock lock(drive_mutex_);
  // One that has failed may be destroyed before anybody has seen to its end: peers have to let go
  // of its memory first.
  if (!sequencer_.empty()) {
    end(tutti::error(Code::kAborted, "%s: the communicator was destroyed", who().c_str()), false);
  }
  transport().free(scratch_);
}

std::string Communicator::who() const {
  std::string text = "rank " + std::to_string(rank()) + " of " + std::to_string(nranks());
  if (!parts_.name.empty()) text += " in '" + parts_.name + "'";
  return text;
}

Result<void*> Communicator::scratch(size_t bytes) {
  if (bytes <= scratch_bytes_) return scratch_;
  transport().free(scratch_);
  scratch_ = nullptr;
  scratch_bytes_ = 0;
  Result<void*> made = transport().alloc(bytes);
  if (!made.ok()) {
    return tutti::error(Code::kOutOfMemory, "%s: no memory for %zu bytes of scratch: %s",
                        who().c_str(), bytes, made.status().text().c_str());
  }
  scratch_ = made.value();
  scratch_bytes_ = bytes;
  return scratch_;
}

Result<std::unique_ptr<Operation>> Communicator::make(CollectiveCall&& call) {
  MutexLock lock(drive_mutex_);
  {
    MutexLock discarded(discarded_mutex_);
    discarded_.clear();
  }
  Result<BoundCall*> bound = plans_.find(call);
  if (!bound.ok()) return cannot_start(tutti::describe(call), bound.status());
  std::unique_ptr<Operation> operation =
      std::make_unique<CollectiveOperation>(*this, std::move(call), bound.value());
  return operation;
}

Result<std::unique_ptr<Operation>> Communicator::make_send(const PointToPoint& message) {
  SendChannel* channel = nullptr;
  if (message.peer != rank()) {
    MutexLock lock(drive_mutex_);
    Result<SendChannel*> opened = point_to_point_.send_channel(message.peer, message.tag);
    if (!opened.ok()) {
      return cannot_start("send to rank " + std::to_string(message.peer), opened.status());
    }
    channel = opened.value();
  }
  std::unique_ptr<Operation> operation = std::make_unique<SendOperation>(*this, message, channel);
  return operation;
}

Result<std::unique_ptr<Operation>> Communicator::make_recv(const PointToPoint& message,
                                                           int* source) {
  std::vector<RecvOperation::Candidate> candidates;
  for (int peer = 0; peer < nranks(); ++peer) {
    if (message.peer != kAnyRank && message.peer != peer) continue;
    RecvSide* end = nullptr;
    if (peer != rank()) {
      MutexLock lock(drive_mutex_);
      Result<RecvSide*> opened = point_to_point_.recv_end(peer, message.tag);
      if (!opened.ok()) {
        return cannot_start("receive from rank " + std::to_string(peer), opened.status());
      }
      end = opened.value();
    }
    candidates.push_back({peer, end});
  }
  std::unique_ptr<Operation> operation =
      std::make_unique<RecvOperation>(*this, message, std::move(candidates), source);
  return operation;
}

// Its plan is given back under the drive mutex, which a thread that waits inside holds for long;
// what others look at is theirs again at once, of one that was never queued, too.
void Communicator::discard(std::unique_ptr<Operation> operation) {
  if (!operation->finished.load(std::memory_order_acquire)) operation->let_go();
  operation->ticket.reset();
  if (drive_mutex_.try_lock()) {
    operation.reset();
    drive_mutex_.unlock();
    return;
  }
  MutexLock lock(discarded_mutex_);
  discarded_.push_back(std::move(operation));
}

bool Communicator::drained() {
  MutexLock lock(drive_mutex_);
  return sequencer_.empty();
}

Status Communicator::check_any_thread(const char* what) const {
  return tutti::check_any_thread(*parts_.transport, who(), what);
}

// What ended the communicator before is the better answer: a channel that cannot be opened is but
// its consequence.
Status Communicator::cannot_start(const std::string& what, const Status& why) {
  WaitLadder ladder(rungs_);
  while (why.code() == Code::kRemoteError && explanation_may_come(-1)) ladder.tick();
  Status known = error();
  if (!known.ok()) return known;
  end(tutti::error(why.code(), "%s: %s: %s", who().c_str(), what.c_str(), why.text().c_str()),
      true);
  return error();
}

void Communicator::enqueue(const Order& order, std::unique_ptr<Operation> operation) {
  MutexLock lock(drive_mutex_);
  if (order.kind == Order::Kind::kCollective) operation->set_sequence(next_sequence_++);
  sequencer_.push(order, std::move(operation));
  count_pending();
}

void Communicator::enqueue(const Order& order, Operation* operation) {
  MutexLock lock(drive_mutex_);
  if (order.kind == Order::Kind::kCollective) operation->set_sequence(next_sequence_++);
  sequencer_.push(order, operation);
  count_pending();
}

bool Communicator::poll_once() {
  // Whoever holds the mutex advances the same operations.
  if (!drive_mutex_.try_lock()) return true;
  poll();
  check();
  drive_mutex_.unlock();
  return !idle();
}

Status Communicator::run(CollectiveCall&& call) {
  MutexLock lock(drive_mutex_);
  Result<BoundCall*> bound = plans_.find(call);
  if (!bound.ok()) return cannot_start(tutti::describe(call), bound.status());
  CollectiveOperation operation(*this, std::move(call), bound.value());
  operation.set_sequence(next_sequence_++);
  const Order collectives{};
  if (sequencer_.empty() && !ended_.load(std::memory_order_acquire)) {
    // Most calls end here: nothing is queued, so nothing needs a queue, and the peers are so near
    // that no check is due before the first rung is over, or for the time of a few yields.
    const uint32_t yields = std::min(rungs_.yields, kUncheckedYields);
    for (uint32_t tick = 0; tick <= rungs_.spins + yields; ++tick) {
      if (tick > rungs_.spins) yield_core();
      const Operation::Progress progress = step(operation);
      if (progress == Operation::Progress::kDone) return Status();
      if (progress == Operation::Progress::kFailed) {
        end(operation.why_failed(), true);
        return error();
      }
      transport().progress();
    }
  }
  sequencer_.push(collectives, &operation);
  return wait_locked(operation);
}

Status Communicator::wait(Operation& operation) {
  MutexLock lock(drive_mutex_);
  return wait_locked(operation);
}

Status Communicator::wait_locked(Operation& operation) {
  Waiter waiter(transport(), rungs_);
  while (!operation.finished.load(std::memory_order_acquire)) {
    const uint64_t before = steps_run();
    poll();
    if (operation.finished.load(std::memory_order_acquire)) break;
    if (steps_run() != before) waiter.reset();
    if (waiter.tick()) check();
  }
  return operation.result;
}

Status Communicator::drain() {
  MutexLock lock(drive_mutex_);
  Waiter waiter(transport(), rungs_);
  while (!sequencer_.empty()) {
    const uint64_t before = steps_run();
    poll();
    if (steps_run() != before) waiter.reset();
    if (waiter.tick()) check();
  }
  return error();
}

Status Communicator::finalize() {
  TUTTI_TRY(drain());
  if (!counted_ || !parts_.open) return Status();
  counted_ = false;
  // acq_rel: whoever is last sees what the others have done with the transport.
  if (parts_.open->fetch_sub(1, std::memory_order_acq_rel) > 1) return Status();
  return transport().finalize();
}

void Communicator::poll() {
  if (ended_.load(std::memory_order_acquire)) {
    sequencer_.cancel(error());
    count_pending();
    return;
  }
  transport().progress();
  Operation* failed = sequencer_.advance();
  count_pending();
  if (failed != nullptr) end(failed->why_failed(), true, failed->culprit());
}

}  // namespace tutti
