// Patience: how long a blocking call of net and bootstrap may take, and what ends it early. A
// value.
#pragma once

#include <atomic>

#include "comm/base/clock.h"

namespace tutti {

struct Patience {
  Deadline deadline = Deadline::never();
  // Becomes true when somebody wants the wait to end (kAborted); looked at every 50 ms or sooner.
  // Borrowed; may be null.
  const std::atomic<bool>* abort = nullptr;
};

}  // namespace tutti
