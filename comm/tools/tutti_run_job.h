// Job: the ranks of one tutti-run, from the first fork to the last byte of output.
//
// One thread, one poll() loop over signals (signalfd), exits (pidfd), output and input. A rank that
// has exited stays a zombie until the end, so that its pid, which names its process group, cannot
// become somebody else's while we may still signal it.
#pragma once

#include <csignal>
#include <cstdint>
#include <deque>
#include <optional>
#include <poll.h>
#include <string>
#include <vector>

#include "comm/base/status.h"
#include "comm/base/unique_fd.h"
#include "comm/tools/tutti_run_child.h"
#include "comm/tools/tutti_run_environment.h"
#include "comm/tools/tutti_run_input.h"
#include "comm/tools/tutti_run_options.h"
#include "comm/tools/tutti_run_output.h"

namespace tutti {

// Exit codes of tutti-run itself; others are those of a rank, or 128 + a signal.
inline constexpr int kRunLostOutput = 1;
inline constexpr int kRunBadUsage = 2;
inline constexpr int kRunTimeout = 124;
inline constexpr int kRunCannotStart = 125;
inline constexpr int kRunNotExecutable = 126;
inline constexpr int kRunNotFound = 127;

class Job {
 public:
  // All must outlive this. `environment` is the one inherited, "NAME=value".
  Job(const RunOptions& options, const JobFacts& facts,
      const std::vector<std::string>& environment);

  // Starts the ranks, waits for all, leaves no process behind. What tutti-run exits with.
  int run();

 private:
  struct Rank {
    StartedRank process;
    RankPipe out, err;
    bool exited = false;
  };
  enum class Event : uint8_t { kSignal, kSink, kInput, kExit, kOutput };
  struct Watch {
    Event event;
    size_t index;  // of the rank (kExit), of the pipe, two a rank (kOutput)
  };

  Status prepare();
  Status start_all();
  Status start(int rank, int input, int core);
  RankPipe& pipe_at(size_t index);

  void step();
  void watch(const pollfd& fd, Event event, size_t index = 0);
  int64_t watch_output(int64_t now);
  void handle(const Watch& watch);
  void on_signal();
  void obey(int signal);
  void bury_stranger(pid_t pid);
  void on_exit(size_t index);
  void judge(size_t index, const siginfo_t& info);
  void check_sinks();
  void check_clock();
  int64_t next_alarm() const;
  int64_t leftovers_end_at() const;
  int64_t gives_up_at() const;
  bool finished() const;

  void end(int exit_code, int signal);
  void kill_all();
  void end_leftovers();
  void to_all_groups(int signal) const;
  void reap() const;
  void say(const char* format, ...) __attribute__((format(printf, 2, 3)));

  const RunOptions& options_;
  const JobFacts& facts_;
  const std::vector<std::string>& environment_;
  Inherited inherited_{};
  UniqueFd signals_;
  Sink out_;
  Sink err_;
  std::optional<TerminalInput> input_;
  std::deque<Rank> ranks_;  // never moved: its pipes are known by address
  std::vector<pollfd> fds_;
  std::vector<Watch> watches_;  // what each of fds_ is
  size_t first_pipe_ = 0;       // read first in this step, so that none is always last

  int alive_ = 0;
  int exit_code_ = 0;
  int64_t times_out_at_ = INT64_MAX;
  bool ending_ = false;
  int end_signal_ = 0;
  int64_t kills_at_ = INT64_MAX;
  bool killed_ = false;
  int64_t killed_at_ = 0;
  int64_t all_exited_at_ = 0;
  bool leftovers_ended_ = false;
  bool output_lost_ = false;
};

}  // namespace tutti
