// start_thread: a thread, or why there is none. A process may have no more of them (ulimit -u, the
// limit of a container) or no room for another stack (ulimit -v), and std::thread throws then. Any
// thread.
#pragma once

#include <system_error>
#include <thread>
#include <utility>

#include "comm/base/status.h"

namespace tutti {

// `what`: its job, for the text.
template <typename Work>
Status start_thread(std::thread* thread, const char* what, Work work) {
  try {
    *thread = std::thread(std::move(work));
  } catch (const std::system_error& failure) {
    return error(Code::kSystemError, "cannot start a thread for %s: %s (see ulimit -u and -v)",
                 what, failure.code().message().c_str());
  }
  return Status();
}

}  // namespace tutti
