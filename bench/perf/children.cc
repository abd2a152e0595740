#include "bench/perf/children.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "comm/base/clock.h"

namespace perf {

using tutti::Code;
using tutti::Status;

namespace {

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

Status describe_end(const std::string& name, int status) {
  if (WIFSIGNALED(status)) {
    return tutti::error(Code::kRemoteError, "%s was ended by signal %d (%s)", name.c_str(),
                        WTERMSIG(status), strsignal(WTERMSIG(status)));
  }
  return tutti::error(Code::kRemoteError, "%s ended with exit code %d", name.c_str(),
                      WEXITSTATUS(status));
}

}  // namespace

Children::Children() {
  const sigset_t set = watched_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

Children::~Children() { end(); }

void Children::end() {
  signal_all(SIGTERM);
  if (wait_until_gone(2)) return;
  signal_all(SIGKILL);
  wait_until_gone(10);
}

Status Children::start(const std::string& name, const std::vector<std::string>& argv,
                       const Variables& environment) {
  std::vector<std::string> arguments = argv;
  std::vector<std::string> variables = environment_with(environment);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A process group of its own: an interrupt from the terminal reaches the harness alone, which
  // then ends them all.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t pid = -1;
  const int failure = posix_spawnp(&pid, argv[0].c_str(), &files, &attributes,
                                   pointers_to(arguments).data(), pointers_to(variables).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (failure != 0) {
    return tutti::error(Code::kSystemError, "%s: cannot start %s: %s", name.c_str(),
                        argv[0].c_str(), std::strerror(failure));
  }
  running_.push_back({pid, name});
  return {};
}

Status Children::check() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo != SIGCHLD) interrupted_ = true;
  }
  Status ended = reap();
  if (interrupted_) return tutti::error(Code::kAborted, "interrupted");
  return may_end_ ? Status() : ended;
}

// The first end that was not a success, or that came too early.
Status Children::reap() {
  Status result;
  const auto gone = [&](const Child& child) {
    int status = 0;
    if (waitpid(child.pid, &status, WNOHANG) != child.pid) return false;
    const bool expected = may_end_ && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!expected && result.ok()) result = describe_end(child.name, status);
    return true;
  };
  running_.erase(std::remove_if(running_.begin(), running_.end(), gone), running_.end());
  return result;
}

Status Children::finish(double seconds) {
  may_end_ = true;
  const auto deadline = tutti::Deadline::after_ns(static_cast<int64_t>(seconds * 1e9));
  Status result;
  while (true) {
    const Status ended = reap();
    if (result.ok()) result = ended;
    if (running_.empty()) return result;
    if (deadline.expired(tutti::now_ns())) break;
    pollfd ready{signals_.get(), POLLIN, 0};
    poll(&ready, 1, 100);
    TUTTI_TRY(check());
  }
  return tutti::error(Code::kTimeout, "%s did not end when told to", running_[0].name.c_str());
}

void Children::signal_all(int signal) const {
  for (const Child& child : running_) kill(child.pid, signal);
}

bool Children::wait_until_gone(double seconds) {
  const auto deadline = tutti::Deadline::after_ns(static_cast<int64_t>(seconds * 1e9));
  may_end_ = true;
  while (true) {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) > 0) {
    }
    const Status ignored = reap();
    static_cast<void>(ignored.ok());  // whatever they report now, they were told to end
    if (running_.empty()) return true;
    if (deadline.expired(tutti::now_ns())) return false;
    pollfd ready{signals_.get(), POLLIN, 0};
    poll(&ready, 1, 100);
  }
}

}  // namespace perf
