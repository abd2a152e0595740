// What is typed at a terminal, passed on to rank 0.
//
// Ranks lead process groups of their own, and a terminal stops whoever reads it from a group in the
// background. So tutti-run reads for rank 0, and only while it is in the foreground itself. Input
// that is no terminal is handed to rank 0 directly and needs none of this. Not thread-safe.
#pragma once

#include <cstdint>
#include <poll.h>
#include <string>

#include "comm/base/unique_fd.h"

namespace tutti {

class TerminalInput {
 public:
  // `terminal` is borrowed; `to_rank` is made non-blocking.
  TerminalInput(int terminal, UniqueFd to_rank);

  // What to wait for: fd -1 for nothing, and then until wake_at().
  pollfd watch(int64_t now) const;
  int64_t wake_at(int64_t now) const;
  // After watch() was ready.
  void advance(int64_t now);

 private:
  void read_more(int64_t now);

  const int terminal_;
  UniqueFd to_rank_;
  std::string typed_;         // not yet passed on
  int64_t background_until_;  // when to look again whether we are in the foreground
};

}  // namespace tutti
