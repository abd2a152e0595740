#include "comm/tools/tutti_run_job.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"

namespace tutti {
namespace {

int timeout_until(int64_t alarm, int64_t now) {
  if (alarm == INT64_MAX) return -1;
  const int64_t ms = (std::max<int64_t>(alarm - now, 0) + 999'999) / 1'000'000;
  return static_cast<int>(std::min<int64_t>(ms, INT32_MAX));
}

// How a rank that failed did: "exited with code 7", "was ended by signal 11 (Segmentation fault)".
std::string describe(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return "exited with code " + std::to_string(info.si_status);
  return "was ended by signal " + std::to_string(info.si_status) + " (" +
         strsignal(info.si_status) + (info.si_code == CLD_DUMPED ? ", core dumped)" : ")");
}

}  // namespace

Job::Job(const RunOptions& options, const JobFacts& facts,
         const std::vector<std::string>& environment)
    : options_(options),
      facts_(facts),
      environment_(environment),
      out_(STDOUT_FILENO),
      err_(STDERR_FILENO) {}

int Job::run() {
  Status started = prepare();
  if (started.ok()) started = start_all();
  if (!started.ok()) {
    say("%s", started.text().c_str());
    end(kRunCannotStart, SIGTERM);
  }
  if (options_.timeout_ns) times_out_at_ = Deadline::after_ns(*options_.timeout_ns).at_ns();
  while (!finished()) step();
  to_all_groups(SIGKILL);
  reap();
  return exit_code_ == 0 && output_lost_ ? kRunLostOutput : exit_code_;
}

RankPipe& Job::pipe_at(size_t index) {
  Rank& rank = ranks_[index / 2];
  return index % 2 == 0 ? rank.out : rank.err;
}

void Job::step() {
  const int64_t now = now_ns();
  fds_.clear();
  watches_.clear();
  watch({signals_.get(), POLLIN, 0}, Event::kSignal);
  for (const Sink* sink : {&out_, &err_}) {
    watch({sink->empty() ? -1 : sink->fd(), POLLOUT, 0}, Event::kSink);
  }
  if (input_) watch(input_->watch(now), Event::kInput);
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (!ranks_[i].exited) watch({ranks_[i].process.pidfd.get(), POLLIN, 0}, Event::kExit, i);
  }
  int64_t alarm = std::min(next_alarm(), watch_output(now));
  if (input_) alarm = std::min(alarm, input_->wake_at(now));
  const int ready = poll(fds_.data(), fds_.size(), timeout_until(alarm, now));
  for (size_t i = 0; i < fds_.size(); ++i) {
    const bool due = watches_[i].event == Event::kOutput && pipe_at(watches_[i].index).ends_soon();
    if (due || (ready > 0 && fds_[i].revents != 0)) handle(watches_[i]);
  }
  check_sinks();
  check_clock();
}

void Job::watch(const pollfd& fd, Event event, size_t index) {
  fds_.push_back(fd);
  watches_.push_back({event, index});
}

// Returns when to look again without an event.
int64_t Job::watch_output(int64_t now) {
  int64_t alarm = INT64_MAX;
  const size_t num_pipes = 2 * ranks_.size();
  for (size_t i = 0; i < num_pipes; ++i) {
    const size_t index = (first_pipe_ + i) % num_pipes;
    const RankPipe& pipe = pipe_at(index);
    if (!pipe.open()) continue;
    if (pipe.wants_to_read(now)) {
      watch({pipe.fd(), POLLIN, 0}, Event::kOutput, index);
      if (pipe.ends_soon()) alarm = now;
    } else {
      // Its sink is full, and then room there is an event, or kept by a long line.
      const Sink& sink = index % 2 == 0 ? out_ : err_;
      if (!sink.full()) alarm = std::min(alarm, sink.held_until());
    }
  }
  if (num_pipes > 0) first_pipe_ = (first_pipe_ + 1) % num_pipes;
  return alarm;
}

void Job::handle(const Watch& watch) {
  const int64_t now = now_ns();
  switch (watch.event) {
    case Event::kSignal:
      return on_signal();
    case Event::kSink:
      return;  // check_sinks() writes after every step
    case Event::kInput:
      if (input_) input_->advance(now);
      return;
    case Event::kExit:
      return on_exit(watch.index);
    case Event::kOutput:
      // Those before it in this step may have filled the sink.
      if (pipe_at(watch.index).wants_to_read(now)) pipe_at(watch.index).read_some(now);
      return;
  }
}

void Job::on_signal() {
  signalfd_siginfo got;
  while (read(signals_.get(), &got, sizeof got) == sizeof got) {
    if (got.ssi_signo == SIGCHLD) {
      bury_stranger(static_cast<pid_t>(got.ssi_pid));
    } else {
      obey(static_cast<int>(got.ssi_signo));
    }
  }
}

// What a rank had started and left to us. Two that end together may tell us of one only; the other
// stays a zombie until the end.
void Job::bury_stranger(pid_t pid) {
  const bool is_rank = std::any_of(ranks_.begin(), ranks_.end(),
                                   [pid](const Rank& rank) { return rank.process.pid == pid; });
  if (!is_rank) waitpid(pid, nullptr, WNOHANG);
}

void Job::obey(int signal) {
  if (signal == SIGTSTP) {
    to_all_groups(SIGTSTP);
    raise(SIGSTOP);  // returns once we are continued
    to_all_groups(SIGCONT);
  } else if (ending_) {
    kill_all();
  } else {
    say("got SIG%s; ending all ranks", sigabbrev_np(signal));
    end(128 + signal, signal);
  }
}

void Job::on_exit(size_t index) {
  Rank& rank = ranks_[index];
  siginfo_t info{};
  const int waited = waitid(P_PIDFD, static_cast<id_t>(rank.process.pidfd.get()), &info,
                            WEXITED | WNOHANG | WNOWAIT);
  if (waited != 0 || info.si_pid == 0) return;
  rank.exited = true;
  rank.process.pidfd.reset();
  --alive_;
  const int64_t now = now_ns();
  if (alive_ == 0) {
    all_exited_at_ = now;
    // A shell lets what it starts in the background ignore SIGINT; nobody is left to end that.
    if (ending_ && end_signal_ != SIGTERM) to_all_groups(SIGTERM);
  }
  if (index == 0) input_.reset();
  // Its last words before ours about it. What does not fit now comes when there is room.
  for (RankPipe* pipe : {&rank.out, &rank.err}) {
    while (pipe->wants_to_read(now) && pipe->bytes_waiting() > 0) pipe->read_some(now);
  }
  if (!ending_) judge(index, info);
}

void Job::judge(size_t index, const siginfo_t& info) {
  const StartedRank& process = ranks_[index].process;
  if (const int why = exec_failure(process); why != 0) {
    say("cannot start '%s': %s", options_.command[0].c_str(), std::strerror(why));
    return end(why == ENOENT ? kRunNotFound : kRunNotExecutable, SIGTERM);
  }
  if (info.si_code == CLD_EXITED && info.si_status == 0) return;
  say("rank %zu (pid %d) %s%s", index, static_cast<int>(process.pid), describe(info).c_str(),
      alive_ > 0 ? "; ending the others" : "");
  end(info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status, SIGTERM);
}

// A reader that has gone is gone for the ranks too: their next write fails, as it would without us.
void Job::check_sinks() {
  out_.flush();
  err_.flush();
  for (Sink* sink : {&out_, &err_}) {
    if (sink->failure() == 0) continue;
    if (sink == &out_ && !output_lost_) {
      say("cannot write to standard output: %s", std::strerror(sink->failure()));
    }
    output_lost_ = true;
    for (Rank& rank : ranks_) (sink == &out_ ? rank.out : rank.err).abandon();
  }
}

void Job::say(const char* format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  const int length = std::vsnprintf(text, sizeof text - 1, format, args);
  va_end(args);
  const size_t kept = std::min<size_t>(static_cast<size_t>(std::max(length, 0)), sizeof text - 2);
  text[kept] = '\n';
  err_.put(this, "tutti-run: ", {text, kept + 1}, now_ns());
}

}  // namespace tutti
