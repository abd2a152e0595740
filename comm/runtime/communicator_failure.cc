// How a communicator ends: the checks that find out why, and what everybody is told.
#include <utility>

#include "comm/base/clock.h"
#include "comm/runtime/communicator.h"

namespace tutti {
namespace {

// Peers that are late by more than this are asked after.
constexpr int64_t kWatchAfterNs = 200'000'000;
// A rank that fails tells the others why on links that it may have to open first.
constexpr int64_t kExplainNs = 1'000'000'000;

}  // namespace

void Communicator::check() {
  if (ended_.load(std::memory_order_acquire)) return;
  if (abort_requested_.load(std::memory_order_acquire)) {
    end(tutti::error(Code::kAborted, "%s: the communicator was aborted", who().c_str()), false);
    return;
  }
  if (control().failed()) {
    poll();  // what has arrived may still complete
    const std::optional<Failure> failure = control().failure();
    if (failure.has_value() && !sequencer_.empty()) {
      end(from_peer(*failure), false, culprit_of(*failure));
    }
    return;
  }
  Status why;
  Operation* sick = nullptr;
  int sick_peer = -1;
  const int64_t now = now_ns();
  Operation* late = nullptr;
  sequencer_.each_running([&](Operation& operation) {
    assert_held();
    if (sick == nullptr) {
      why = health_of(operation, &sick_peer);
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
  if (sick != nullptr) return end_if_stuck(*sick, why, sick_peer);
  if (late != nullptr) {
    const int peer = late->waiting_for();  // first of all: it may go with its messages
    end(timeout_of(*late), true, peer);
  }
}

Status Communicator::health_of(const Operation& operation, int* peer) const {
  TUTTI_TRY(operation.health(peer));
  if (!control().left(-1)) return Status();
  *peer = operation.waiting_for();
  if (*peer < 0 || *peer == rank() || !control().left(*peer)) return Status();
  if (operation.waiting_for() != *peer) return Status();  // it did what was wanted, then left
  return tutti::error(Code::kRemoteError, "rank %d has left: %s", *peer,
                      control().why_left(*peer).c_str());
}

// A peer is gone. What it had sent before may be all we need: look once more, and end only when the
// operation is still stuck.
void Communicator::end_if_stuck(Operation& operation, const Status& why, int peer) {
  const std::string what = operation.describe();
  const size_t before = sequencer_.pending();
  const uint64_t steps = steps_run();
  poll();
  if (sequencer_.pending() != before || steps_run() != steps) return;
  // A peer that fails says why before it ends its channels, but maybe on a slower way.
  if (why.code() == Code::kRemoteError && explanation_may_come(peer)) return;
  const std::optional<Failure> failure = control().failure();
  if (failure.has_value()) return end(from_peer(*failure), false, peer);
  end(tutti::error(why.code(), "%s: %s: %s", who().c_str(), what.c_str(), why.text().c_str()), true,
      peer);
}

bool Communicator::explanation_may_come(int rank) {
  if (control().failed() || !control().may_explain(rank)) return false;
  control().watch(rank);
  const int64_t now = now_ns();
  if (unexplained_since_ns_ == 0) unexplained_since_ns_ = now;
  return now - unexplained_since_ns_ < kExplainNs;
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
  // First of all: a peer that gives up in the meantime takes its messages with it.
  const int peer = operation.waiting_for();
  // Ranks that called different things may all be waiting for ranks that did not.
  TUTTI_TRY(disagreement());
  const double seconds = static_cast<double>(config().timeout_ns) * 1e-9;
  std::string text = who() + ": " + operation.describe() + ": waited " + std::to_string(seconds) +
                     " s for " + (peer < 0 ? "any rank" : "rank " + std::to_string(peer));
  if (peer < 0 || operation.sequence() < 0) return Status(Code::kTimeout, text);
  const std::optional<CallRecord> last = control().last_call_of(peer);
  text += last.has_value() ? ", whose latest call is " + tutti::describe(*last)
                           : ", which has not called anything yet";
  return Status(Code::kTimeout, text);
}

// What is told may be about a third rank, for which this one is likely to wait, too.
int Communicator::culprit_of(const Failure& failure) {
  int culprit = failure.rank;
  if (failure.code != Code::kTimeout && failure.code != Code::kRemoteError) return culprit;
  sequencer_.each_running([&](const Operation& operation) {
    const int peer = operation.waiting_for();
    if (peer >= 0) culprit = peer;
  });
  return culprit;
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
  // The other rank may have found the same, told everybody and gone.
  const std::optional<Failure> told = control().failure();
  if (told.has_value() && told->code == Code::kMismatch) return from_peer(*told);
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

// Memory that the library under the transport may still touch must not be reused: the text names
// it, as long as it is so.
Status Communicator::with_lent(const Status& why) const {
  const std::string lent = parts_.transport->still_lent(parts_.id);
  return lent.empty() ? why : Status(why.code(), why.text() + "; " + lent);
}

void Communicator::end(const Status& why, bool tell_peers, int culprit) {
  if (ended_.load(std::memory_order_acquire)) return;
  if (tell_peers) control().fail(why.code(), why.text());
  transport().abort(parts_.id);
  const Status told = with_lent(why);
  if (why.code() == Code::kAborted) {
    parts_.log.info("%s", told.text().c_str());  // somebody asked for it
  } else {
    parts_.log.error("%s", told.text().c_str());
  }
  {
    MutexLock lock(ended_mutex_);
    ended_why_ = why;
    culprit_ = culprit;
  }
  ended_.store(true, std::memory_order_release);
  self_sends_.clear();
  sequencer_.cancel(told);
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

int Communicator::culprit() const {
  if (ended_.load(std::memory_order_acquire)) {
    MutexLock lock(ended_mutex_);
    return culprit_;
  }
  const std::optional<Failure> failure = parts_.control->failure();
  return failure.has_value() ? failure->rank : -1;
}

Status Communicator::error() const {
  if (ended_.load(std::memory_order_acquire)) {
    Status why;
    {
      MutexLock lock(ended_mutex_);
      why = ended_why_;
    }
    return with_lent(why);
  }
  if (abort_requested_.load(std::memory_order_acquire)) {
    return with_lent(
        tutti::error(Code::kAborted, "%s: the communicator was aborted", who().c_str()));
  }
  if (parts_.control->failed()) {
    const std::optional<Failure> failure = parts_.control->failure();
    if (failure.has_value()) return from_peer(*failure);
  }
  return Status();
}

}  // namespace tutti
