// Launched: a tutti-run that a test has started, its output and how it ended.
//
// Waiting has a limit, and what a test has started and not waited for is killed by its pid.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "comm/base/unique_fd.h"

namespace tutti {

struct LaunchSetup {
  std::vector<std::string> arguments;
  std::vector<std::string> environment = {};  // beside that of the test, "NAME=value"
  std::string input = {};                     // on its standard input
  int terminal = -1;                          // all three streams and its terminal instead
  bool close_streams = false;                 // start with 0, 1 and 2 closed
  bool ignore_child_signal = false;
};

class Launched {
 public:
  explicit Launched(const LaunchSetup& setup);
  explicit Launched(std::vector<std::string> arguments)
      : Launched(LaunchSetup{std::move(arguments)}) {}
  ~Launched();
  Launched(const Launched&) = delete;
  Launched& operator=(const Launched&) = delete;

  pid_t pid() const { return pid_; }
  // Until its standard output or error holds a whole line with `text`. False when none comes.
  bool wait_for(const std::string& text);
  // Until it has ended and all output is here. The exit code, 1000 + signal, or -1 for a hang.
  int wait();
  // The same, and nobody reads its output meanwhile.
  int wait_unread();
  // Stops reading its standard output for good.
  void close_output() { out_pipe_.reset(); }

  const std::string& out() const { return out_; }
  const std::string& err() const { return err_; }

 private:
  bool read_some(int64_t deadline);
  bool drain(UniqueFd* pipe, std::string* text);

  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd out_pipe_, err_pipe_;
  std::string out_, err_;
};

// Splits into lines without their ends; a last line without an end counts.
std::vector<std::string> lines_of(const std::string& text);
// The lines that have `prefix`, without it.
std::vector<std::string> lines_with(const std::string& prefix, const std::string& text);
// The number after `label`, which must be there.
int number_after(const std::string& label, const std::string& text);
bool is_gone(pid_t pid);
// By a signal, sooner or later.
bool is_stopped_in_time(pid_t pid);

}  // namespace tutti
