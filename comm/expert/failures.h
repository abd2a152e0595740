// GroupFailures: of the operations of a group that were refused on a stream, where nobody is told,
// the first that has not been asked for. Threads: any.
#pragma once

#include <utility>

#include "comm/base/mutex.h"
#include "comm/base/status.h"

namespace tutti {

class GroupFailures {
 public:
  struct Failure {
    Code code = Code::kOk;
    int rank = -1;  // whose fault it is; -1: not known
  };
  void note(const Failure& failure) {
    MutexLock lock(mutex_);
    if (first_.code == Code::kOk) first_ = failure;
  }
  // From now on it has been told.
  Failure take() {
    MutexLock lock(mutex_);
    return std::exchange(first_, {});
  }

 private:
  Mutex mutex_;
  Failure first_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
