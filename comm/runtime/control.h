// Control: what ranks of one communicator tell each other besides data: what they call, that they
// are there, that they failed. Nothing on it is needed while operations succeed.
//
// One object per rank. Threads: any, concurrently; only publish() is for one thread at a time.
#pragma once

#include <optional>
#include <string>

#include "comm/base/status.h"
#include "comm/runtime/board.h"
#include "comm/runtime/call.h"

namespace tutti {

class Control {
 public:
  virtual ~Control() = default;
  // Announces this rank's next collective call. On the path of every call: no lock, no allocation.
  virtual void publish(const CallRecord& record) = 0;
  // What `rank` announced as its call number `sequence`, while it is remembered (the last 32).
  virtual std::optional<CallRecord> call_of(int rank, uint64_t sequence) const = 0;
  // The latest call `rank` announced.
  virtual std::optional<CallRecord> last_call_of(int rank) const = 0;
  // Tells all ranks that this one has failed; the first failure of a communicator counts.
  virtual void fail(Code code, const std::string& text) = 0;
  // Cheap: one load. True once any rank has failed or aborted.
  virtual bool failed() const = 0;
  virtual std::optional<Failure> failure() const = 0;
  // Whether `rank` has joined.
  virtual bool present(int rank) const = 0;
  // Whether `rank` has ended its side for good; all it had posted is there. -1: any rank (cheap).
  virtual bool left(int rank) const = 0;
  // Whether the word about the failure that `rank` ended for, its own or another rank's, may still
  // be on its way here: news travels on another connection than the end of a channel.
  virtual bool may_explain(int /*rank*/) const { return false; }
  // After left(): how, to complete "rank 1 has left: ...".
  virtual std::string why_left(int rank) const = 0;
  // This rank has waited for `rank` for a while: make sure to hear of its end. Cheap when repeated.
  virtual void watch(int /*rank*/) {}
  // Brings what is known of the calls of other ranks up to date; may take a second or two.
  virtual void refresh() {}
  // Tells the other ranks that this one has joined, where they wait for it.
  virtual void announce() {}
};

}  // namespace tutti
