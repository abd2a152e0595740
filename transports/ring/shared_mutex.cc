#include "transports/ring/shared_mutex.h"

#include <cerrno>

#include "comm/base/clock.h"
#include "comm/base/wait.h"

namespace tutti {

Status SharedMutex::init() {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  const int failed = pthread_mutex_init(&mutex_, &attributes);
  pthread_mutexattr_destroy(&attributes);
  if (failed == 0) return Status();
  return error(Code::kSystemError, "cannot make a lock in shared memory (error %d)", failed);
}

bool SharedMutex::lock(int64_t patience_ns) {
  WaitLadder ladder({0, 100});
  Deadline deadline = Deadline::never();
  for (;;) {
    const int failed = pthread_mutex_trylock(&mutex_);
    if (failed == 0) return true;
    if (failed == EOWNERDEAD) {
      // What it guards is consistent at every store (link.h), so there is nothing to repair.
      pthread_mutex_consistent(&mutex_);
      return true;
    }
    if (failed != EBUSY) return false;
    if (deadline.is_never()) deadline = Deadline::after_ns(patience_ns);
    if (ladder.tick() && deadline.expired(now_ns())) return false;
  }
}

void SharedMutex::unlock() { pthread_mutex_unlock(&mutex_); }

}  // namespace tutti
