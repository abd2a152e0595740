// Children: the processes that the harness starts, and the signals that end it. All of them end
// with this object, by their process ids: asked first, then killed.
//
// Make it before any thread exists: it blocks SIGCHLD, SIGINT and SIGTERM in favour of a
// descriptor, which every wait of the harness polls beside its own. One thread.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

#include "bench/perf/environment.h"
#include "comm/base/status.h"
#include "comm/base/unique_fd.h"

namespace perf {

class Children {
 public:
  Children();
  ~Children();
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  // Starts argv[0], found on PATH, with standard input from nowhere and standard output on this
  // process's standard error. `name` is for messages.
  tutti::Status start(const std::string& name, const std::vector<std::string>& argv,
                      const Variables& environment);

  // Readable when check() has something to look at.
  int signal_fd() const { return signals_.get(); }
  // Fails when a signal asked the harness to end, or a process ended that was not told to.
  tutti::Status check();
  bool interrupted() const { return interrupted_; }

  // From now on they may end. Waits for all of them, for so long; then kills the rest. Fails when
  // one of them had to be killed or reports a failure.
  tutti::Status finish(double seconds);
  // Ends them now.
  void end();

 private:
  struct Child {
    pid_t pid;
    std::string name;
  };
  tutti::Status reap();
  void signal_all(int signal) const;
  bool wait_until_gone(double seconds);

  tutti::UniqueFd signals_;
  std::vector<Child> running_;
  bool interrupted_ = false;
  bool may_end_ = false;
};

}  // namespace perf
