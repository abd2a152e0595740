// How a Job ends: what the clock says, and who gets which signal when.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <sys/wait.h>

#include "comm/base/clock.h"
#include "comm/tools/tutti_run_job.h"

namespace tutti {
namespace {

// After all ranks: for what they started and left behind, and for a reader of our output.
constexpr int64_t kLeftoverNs = 500'000'000;
constexpr int64_t kUnreadNs = 2'000'000'000;
// A process that SIGKILL does not end in this time hangs in the kernel.
constexpr int64_t kUnkillableNs = 15'000'000'000;

}  // namespace

int64_t Job::leftovers_end_at() const {
  if (alive_ > 0 || leftovers_ended_ || (ending_ && !killed_)) return INT64_MAX;
  return std::max(all_exited_at_, killed_at_) + kLeftoverNs;
}

int64_t Job::next_alarm() const {
  const int64_t mine = killed_ ? gives_up_at() : ending_ ? kills_at_ : times_out_at_;
  return std::min(mine, leftovers_end_at());
}

int64_t Job::gives_up_at() const {
  if (!killed_) return INT64_MAX;
  if (alive_ > 0) return killed_at_ + kUnkillableNs;
  return std::max(all_exited_at_, killed_at_) + kUnreadNs;
}

void Job::check_clock() {
  const int64_t now = now_ns();
  if (!ending_ && now >= times_out_at_) {
    say("the time limit of %g s is over; ending all ranks",
        static_cast<double>(*options_.timeout_ns) / 1e9);
    end(kRunTimeout, SIGTERM);
  }
  if (ending_ && !killed_ && now >= kills_at_) {
    for (size_t i = 0; i < ranks_.size(); ++i) {
      if (ranks_[i].exited) continue;
      say("rank %zu (pid %d) has not ended within %g s; killing it", i,
          static_cast<int>(ranks_[i].process.pid), static_cast<double>(options_.grace_ns) / 1e9);
    }
    kill_all();
  }
  if (now >= leftovers_end_at()) end_leftovers();
}

bool Job::finished() const {
  if (now_ns() >= gives_up_at()) return true;
  if (alive_ > 0 || !out_.empty() || !err_.empty()) return false;
  return std::all_of(ranks_.begin(), ranks_.end(),
                     [](const Rank& rank) { return !rank.out.open() && !rank.err.open(); });
}

void Job::end(int exit_code, int signal) {
  ending_ = true;
  end_signal_ = signal;
  exit_code_ = exit_code;
  kills_at_ = Deadline::after_ns(options_.grace_ns).at_ns();
  to_all_groups(signal);
  to_all_groups(SIGCONT);  // a stopped rank would not notice
}

void Job::kill_all() {
  if (killed_) return;
  killed_ = true;
  killed_at_ = now_ns();
  to_all_groups(SIGKILL);
}

void Job::end_leftovers() {
  leftovers_ended_ = true;
  to_all_groups(SIGKILL);
  for (Rank& rank : ranks_) {
    rank.out.read_no_later_bytes();
    rank.err.read_no_later_bytes();
  }
}

void Job::to_all_groups(int signal) const {
  for (const Rank& rank : ranks_) kill(-rank.process.pid, signal);
}

void Job::reap() const {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const Deadline deadline = Deadline::after_ns(kUnkillableNs);
  for (const Rank& rank : ranks_) {
    // All of the group: the rank, and what others of it have left to us.
    pid_t pid = waitpid(-rank.process.pid, nullptr, WNOHANG);
    while (pid >= 0 && !deadline.expired(now_ns())) {
      const int64_t left = deadline.at_ns() - now_ns();
      const timespec nap{left / 1'000'000'000, left % 1'000'000'000};
      if (pid == 0) sigtimedwait(&child, nullptr, &nap);
      pid = waitpid(-rank.process.pid, nullptr, WNOHANG);
    }
    if (pid >= 0) {
      std::fprintf(stderr, "tutti-run: what pid %d has started cannot be killed\n",
                   static_cast<int>(rank.process.pid));
    }
  }
}

}  // namespace tutti
