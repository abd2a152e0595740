#include "comm/base/mutex.h"

#include "comm/base/wait.h"

namespace tutti {

constinit thread_local char thread_mark = 0;

bool BiasedMutex::try_lock_shared() {
  Mode mode = mode_.load(std::memory_order_acquire);
  if (mode == Mode::kOneThread) {
    const char* nobody = nullptr;
    if (owner_.compare_exchange_strong(nobody, &thread_mark, std::memory_order_relaxed)) {
      return try_lock_own();
    }
    if (nobody == &thread_mark) return false;  // taken, by ourselves
    if (!mode_.compare_exchange_strong(mode, Mode::kEnding, std::memory_order_seq_cst))
      return false;
    process_barrier();
    mode_.store(Mode::kShared, std::memory_order_release);
  } else if (mode == Mode::kEnding) {
    return false;  // not yet known whether the owner is inside
  }
  // After the barrier: the owner is seen here, or has seen that its privilege is over.
  if (inside_.load(std::memory_order_acquire)) return false;
  return !taken_.load(std::memory_order_relaxed) &&
         !taken_.exchange(true, std::memory_order_acquire);
}

// The holder gives it back after one pass over its operations, or has found a caller waiting for
// one of them: that one lasts as long as a timeout allows.
void BiasedMutex::lock_slowly() {
  WaitLadder ladder({0, 200});
  while (!try_lock()) ladder.tick();
}

}  // namespace tutti
