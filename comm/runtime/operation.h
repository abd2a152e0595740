// Operation: something a communicator has to do, as a state machine that others drive.
//
// Life: made and validated by a call; queued in its order (sequencer.h); begin() once it is at the
// head and its stream has come to it; advance() until it ends. Nothing in it blocks. Thread: the
// holder of the communicator's drive mutex, but for `finished`.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "comm/base/status.h"

namespace tutti {

// The stream side of an operation (streams.h).
class StreamTicket {
 public:
  virtual ~StreamTicket() = default;
  virtual bool ready() = 0;                       // the stream has come to the operation
  virtual void finish(const Status& result) = 0;  // lets the stream go on
};

class Operation {
 public:
  enum class Progress : uint8_t { kBlocked, kDone, kFailed };

  virtual ~Operation() = default;
  virtual Status begin() { return Status(); }
  virtual Progress advance() = 0;
  // After advance() has said kFailed: what ends the communicator.
  virtual Status failure() const = 0;
  // Why no progress is possible any more, with the rank whose end it is in `peer`; else ok.
  virtual Status health(int* peer) const = 0;
  virtual int waiting_for() const = 0;  // a rank, or -1
  // After kFailed: whose fault it is, or -1.
  virtual int culprit() const { return -1; }
  virtual std::string describe() const = 0;
  // After kDone: the result of the call where that is a refusal which harms nothing.
  virtual Status outcome() const { return Status(); }
  // The collective's number among those of its communicator, or -1.
  virtual int64_t sequence() const { return -1; }
  virtual void set_sequence(uint64_t /*number*/) {}  // when it enters the order
  // It has ended: what it holds of others is theirs again before anybody can know. Its destructor
  // comes later.
  virtual void let_go() {}
  virtual uint64_t fingerprint() const { return 0; }

  // What ends the communicator, whether begin() or advance() has failed.
  Status why_failed() const { return begun && !result.ok() ? result : failure(); }

  bool begun = false;
  int64_t deadline_ns = 0;  // 0: not started to wait
  int64_t waits_since_ns = 0;
  std::unique_ptr<StreamTicket> ticket;
  Status result;                      // valid once finished
  std::atomic<bool> finished{false};  // release after result; pairs with acquire in waiters

  void finish(Status status) {
    result = std::move(status);
    let_go();
    if (ticket) ticket->finish(result);
    finished.store(true, std::memory_order_release);
  }
};

}  // namespace tutti
