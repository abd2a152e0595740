// Waiter: how a thread that advances a communicator waits: the wait ladder, and on its last rung a
// sleep from which peers wake it. Not thread-safe; one per wait.
#pragma once

#include "comm/base/wait.h"
#include "transports/transport.h"

namespace tutti {

class Waiter {
 public:
  Waiter(Transport& transport, WaitRungs rungs)
      : transport_(transport), ladder_(rungs, transport.wait_fd()) {}
  ~Waiter() { wake(); }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // One step, between two polls. True now and then, as WaitLadder::tick().
  bool tick() {
    if (!announced_ && ladder_.blocks_next()) {
      transport_.begin_wait();
      announced_ = true;
      return false;  // what came before the announcement is found by one more poll
    }
    const bool due = ladder_.tick();
    wake();
    return due;
  }

  // Something moved.
  void reset() {
    wake();
    ladder_.reset();
  }

 private:
  void wake() {
    if (announced_) transport_.end_wait();
    announced_ = false;
  }

  Transport& transport_;
  WaitLadder ladder_;
  bool announced_ = false;
};

}  // namespace tutti
