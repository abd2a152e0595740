#include "comm/runtime/communicator.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace tutti {
namespace {

// Peers that are late by more than this are asked after.
constexpr int64_t kWatchAfterNs = 200'000'000;

}  // namespace

Communicator::Communicator(CommunicatorParts parts)
    : parts_(std::move(parts)),
      rungs_(rungs_for(parts_.transport->capabilities().rungs, nranks(), usable_cores())),
      plans_(*parts_.transport, parts_.id, parts_.rank, parts_.peers, parts_.config),
      point_to_point_(*parts_.transport, parts_.id, parts_.peers) {
  if (parts_.open) parts_.open->fetch_add(1, std::memory_order_acq_rel);
}

Communicator::~Communicator() {
  if (counted_ && parts_.open) parts_.open->fetch_sub(1, std::memory_order_acq_rel);
  MutexLock lock(drive_mutex_);
  sequencer_.cancel(
      tutti::error(Code::kAborted, "%s: the communicator was destroyed", who().c_str()));
}

std::string Communicator::who() const {
  std::string text = "rank " + std::to_string(rank()) + " of " + std::to_string(nranks());
  if (!parts_.name.empty()) text += " in '" + parts_.name + "'";
  return text;
}

Result<void*> Communicator::scratch(size_t bytes) {
  if (bytes > scratch_bytes_) {
    constexpr size_t kAlignment = 4096;
    const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    scratch_.reset();
    scratch_bytes_ = 0;
    scratch_.reset(std::aligned_alloc(kAlignment, rounded));
    if (!scratch_) {
      return tutti::error(Code::kOutOfMemory, "%s: no memory for %zu bytes of scratch",
                          who().c_str(), bytes);
    }
    scratch_bytes_ = rounded;
  }
  return scratch_.get();
}

Result<std::unique_ptr<Operation>> Communicator::make(CollectiveCall call) {
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
    RecvChannel* channel = nullptr;
    if (peer != rank()) {
      MutexLock lock(drive_mutex_);
      Result<RecvChannel*> opened = point_to_point_.recv_channel(peer, message.tag);
      if (!opened.ok()) {
        return cannot_start("receive from rank " + std::to_string(peer), opened.status());
      }
      channel = opened.value();
    }
    candidates.push_back({peer, channel});
  }
  std::unique_ptr<Operation> operation =
      std::make_unique<RecvOperation>(*this, message, std::move(candidates), source);
  return operation;
}

// Its plan is given back under the drive mutex, which a thread that waits inside holds for long.
void Communicator::discard(std::unique_ptr<Operation> operation) {
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

// What ended the communicator before is the better answer: a channel that cannot be opened is but
// its consequence.
Status Communicator::cannot_start(const std::string& what, const Status& why) {
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

Status Communicator::run(CollectiveCall call) {
  MutexLock lock(drive_mutex_);
  Result<BoundCall*> bound = plans_.find(call);
  if (!bound.ok()) return cannot_start(tutti::describe(call), bound.status());
  CollectiveOperation operation(*this, std::move(call), bound.value());
  operation.set_sequence(next_sequence_++);
  const Order collectives{};
  if (sequencer_.empty() && !ended_.load(std::memory_order_acquire)) {
    // Most calls end here: nothing is queued, so nothing needs a queue, and the peers are so near
    // that no check is due before the first rung is over.
    for (uint32_t spin = 0; spin <= rungs_.spins; ++spin) {
      const Operation::Progress progress = step(operation);
      if (progress == Operation::Progress::kDone) return Status();
      if (progress == Operation::Progress::kFailed) {
        end(operation.failure(), true);
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
  WaitLadder ladder(rungs_, transport().wait_fd());
  while (!operation.finished.load(std::memory_order_acquire)) {
    const uint64_t before = execution_.steps_run();
    poll();
    if (operation.finished.load(std::memory_order_acquire)) break;
    if (execution_.steps_run() != before) ladder.reset();
    if (ladder.tick()) check();
  }
  return operation.result;
}

Status Communicator::drain() {
  MutexLock lock(drive_mutex_);
  WaitLadder ladder(rungs_, transport().wait_fd());
  while (!sequencer_.empty()) {
    poll();
    if (ladder.tick()) check();
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
  if (failed != nullptr) end(failed->failure(), true);
}

void Communicator::check() {
  if (ended_.load(std::memory_order_acquire)) return;
  if (abort_requested_.load(std::memory_order_acquire)) {
    end(tutti::error(Code::kAborted, "%s: the communicator was aborted", who().c_str()), false);
    return;
  }
  if (control().failed()) {
    poll();  // what has arrived may still complete
    const std::optional<Failure> failure = control().failure();
    if (failure.has_value() && !sequencer_.empty()) end(from_peer(*failure), false);
    return;
  }
  Status why;
  Operation* sick = nullptr;
  const int64_t now = now_ns();
  Operation* late = nullptr;
  sequencer_.each_running([&](Operation& operation) {
    if (sick == nullptr) {
      why = health_of(operation);
      if (!why.ok()) sick = &operation;
    }
    if (operation.deadline_ns == 0) {
      const int64_t timeout = config().timeout_ns;
      operation.deadline_ns = timeout == kTimeoutNever ? INT64_MAX : now + timeout;
      operation.waits_since_ns = now;
    }
    if (now - operation.waits_since_ns > kWatchAfterNs) control().watch(operation.waiting_for());
    if (late == nullptr && now >= operation.deadline_ns) late = &operation;
  });
  if (sick != nullptr) return end_if_stuck(*sick, why);
  if (late != nullptr) end(timeout_of(*late), true);
}

Status Communicator::health_of(const Operation& operation) const {
  TUTTI_TRY(operation.health());
  if (!control().left(-1)) return Status();
  const int peer = operation.waiting_for();
  if (peer < 0 || peer == rank() || !control().left(peer)) return Status();
  return tutti::error(Code::kRemoteError, "rank %d has left: %s", peer,
                      control().why_left(peer).c_str());
}

// A peer is gone. What it had sent before may be all we need: look once more, and end only when the
// operation is still stuck.
void Communicator::end_if_stuck(Operation& operation, const Status& why) {
  const std::string what = operation.describe();
  const size_t before = sequencer_.pending();
  const uint64_t steps = execution_.steps_run();
  poll();
  if (sequencer_.pending() != before || execution_.steps_run() != steps) return;
  // A peer that fails says why before it ends its channels.
  const std::optional<Failure> failure = control().failure();
  if (failure.has_value()) return end(from_peer(*failure), false);
  end(tutti::error(why.code(), "%s: %s: %s", who().c_str(), what.c_str(), why.text().c_str()),
      true);
}

Status Communicator::disagreement() const {
  parts_.control->refresh();
  constexpr uint64_t kRemembered = Board::kRemembered;
  const std::optional<CallRecord> last = control().last_call_of(rank());
  if (!last.has_value()) return Status();
  uint64_t sequence = last->sequence < kRemembered ? 0 : last->sequence - kRemembered + 1;
  for (; sequence <= last->sequence; ++sequence) {
    const std::optional<CallRecord> mine = control().call_of(rank(), sequence);
    for (int r = 0; r < nranks() && mine.has_value(); ++r) {
      const std::optional<CallRecord> theirs = control().call_of(r, sequence);
      if (!theirs.has_value() || theirs->fingerprint == mine->fingerprint) continue;
      return tutti::error(Code::kMismatch, "%s: expected %s on all ranks, rank %d called %s",
                          who().c_str(), tutti::describe(*mine).c_str(), r,
                          tutti::describe(*theirs).c_str());
    }
  }
  return Status();
}

Status Communicator::timeout_of(const Operation& operation) const {
  // Ranks that called different things may all be waiting for ranks that did not.
  TUTTI_TRY(disagreement());
  const double seconds = static_cast<double>(config().timeout_ns) * 1e-9;
  const int peer = operation.waiting_for();
  std::string text = who() + ": " + operation.describe() + ": waited " + std::to_string(seconds) +
                     " s for " + (peer < 0 ? "any rank" : "rank " + std::to_string(peer));
  if (peer < 0 || operation.sequence() < 0) return Status(Code::kTimeout, text);
  const std::optional<CallRecord> last = control().last_call_of(peer);
  text += last.has_value() ? ", whose latest call is " + tutti::describe(*last)
                           : ", which has not called anything yet";
  return Status(Code::kTimeout, text);
}

Status Communicator::from_peer(const Failure& failure) const {
  if (failure.code == Code::kAborted) {
    return tutti::error(Code::kAborted, "%s: rank %d aborted the communicator", who().c_str(),
                        failure.rank);
  }
  const Code code = failure.code == Code::kMismatch ? Code::kMismatch : Code::kRemoteError;
  return tutti::error(code, "%s: rank %d failed (%s): %s", who().c_str(), failure.rank,
                      code_name(failure.code), failure.text.c_str());
}

Status Communicator::mismatch(const CollectiveOperation& mine, const Execution::Surprise& got) {
  TUTTI_TRY(disagreement());
  std::string other;
  if (!got.has_header) {
    other = "sent a further message of an operation before this one";
  } else {
    other = "sent " + std::to_string(got.bytes) + " bytes of call " +
            std::to_string(got.header.sequence) + ", expected " +
            std::to_string(got.expected_bytes) + " bytes of call " +
            std::to_string(mine.sequence());
  }
  return tutti::error(Code::kMismatch, "%s: expected %s on all ranks, rank %d %s", who().c_str(),
                      mine.describe().c_str(), got.peer, other.c_str());
}

void Communicator::end(const Status& why, bool tell_peers) {
  if (ended_.load(std::memory_order_acquire)) return;
  if (tell_peers) control().fail(why.code(), why.text());
  if (why.code() == Code::kAborted) {
    parts_.log.info("%s", why.text().c_str());  // somebody asked for it
  } else {
    parts_.log.error("%s", why.text().c_str());
  }
  {
    MutexLock lock(ended_mutex_);
    ended_why_ = why;
  }
  ended_.store(true, std::memory_order_release);
  transport().abort(parts_.id);
  control().wait_for_kernels();
  self_sends_.clear();
  sequencer_.cancel(why);
  count_pending();
}

void Communicator::abort() {
  abort_requested_.store(true, std::memory_order_release);
  control().fail(Code::kAborted, who() + " called tuttiCommAbort");
  transport().abort(parts_.id);
  // Ends what is pending now, unless a thread is driving: that one looks at the flag by itself.
  if (drive_mutex_.try_lock()) {
    check();
    drive_mutex_.unlock();
  }
}

Status Communicator::error() const {
  if (ended_.load(std::memory_order_acquire)) {
    MutexLock lock(ended_mutex_);
    return ended_why_;
  }
  if (abort_requested_.load(std::memory_order_acquire)) {
    return tutti::error(Code::kAborted, "%s: the communicator was aborted", who().c_str());
  }
  if (parts_.control->failed()) {
    const std::optional<Failure> failure = parts_.control->failure();
    if (failure.has_value()) return from_peer(*failure);
  }
  return Status();
}

}  // namespace tutti
