// InFlight: what a caller has started on an expert group and not waited for yet, and the results of
// send_only operations until tuttiEpComplete asks for them.
//
// What counts does not depend on how fast anything runs: a send_only operation counts until it is
// completed, and a stream with operations of the group until it was synchronised (they follow one
// another there, so that they are one). Ranks that run the same program are refused alike.
// Thread: the one that uses the group.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tutti/expert.h"

#include "comm/base/mutex.h"
#include "comm/runtime/operation.h"
#include "comm/runtime/streams.h"

namespace tutti {

// A send_only operation from its call to its completion. Any thread.
class Uncompleted {
 public:
  Uncompleted(tuttiEpHandle_t of, tuttiEpOp_t what) : handle(of), kind(what) {}
  const tuttiEpHandle_t handle;
  const tuttiEpOp_t kind;

  // By the operation: it is over; or it was never queued, and nobody will ask.
  void end(const Status& result);
  void forget() { state_.store(State::kForgotten, std::memory_order_release); }

  bool is_over() const { return state_.load(std::memory_order_acquire) == State::kOver; }
  bool is_forgotten() const { return state_.load(std::memory_order_acquire) == State::kForgotten; }
  Status result() const;  // once it is over
  // Lets the stream of `ticket` go on with the result.
  void hand_to(std::unique_ptr<StreamTicket> ticket);

 private:
  enum class State : uint8_t { kUnderWay, kOver, kForgotten };
  std::atomic<State> state_{State::kUnderWay};  // release after result_; pairs with is_over()
  mutable Mutex mutex_;
  Status result_ TUTTI_GUARDED_BY(mutex_);
  std::unique_ptr<StreamTicket> ticket_ TUTTI_GUARDED_BY(mutex_);
};

class InFlight {
 public:
  // kInvalidUsage where one operation more would be more than `most`. `stream`: of the call, or
  // null; of a send_only operation null, too: its stream does not wait for it.
  Status check(const char* function, uint32_t most, const Streams& streams, void* stream);
  // An operation of the group has been put on `stream`.
  void add_stream(void* stream, const Streams& streams);
  // A ticket for a send_only operation, which may begin when `start` (or null) is ready.
  std::unique_ptr<StreamTicket> add(tuttiEpHandle_t handle, tuttiEpOp_t kind,
                                    std::unique_ptr<StreamTicket> start);
  // The oldest of that kind and handle, or null.
  std::shared_ptr<Uncompleted> oldest(tuttiEpHandle_t handle, tuttiEpOp_t kind);
  void remove(const std::shared_ptr<Uncompleted>& one);
  size_t uncompleted_of(tuttiEpHandle_t handle);

 private:
  struct StreamUse {
    void* stream;
    uint64_t position;  // behind the last operation of the group there
  };
  void drop_forgotten();
  std::vector<std::shared_ptr<Uncompleted>> uncompleted_;  // in the order of their calls
  std::vector<StreamUse> streams_;
};

}  // namespace tutti
