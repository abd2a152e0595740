// How a Job begins: what tutti-run changes for itself, then one process a rank.
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "comm/tools/tutti_run_job.h"

namespace tutti {
namespace {

// One that is ignored when we start (nohup, a background job of a script) stays ignored.
bool is_ignored(int signal) {
  struct sigaction now;
  return sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

std::string prefix_of(int rank, const RunOptions& options) {
  return options.prefix ? "[rank " + std::to_string(rank) + "] " : "";
}

}  // namespace

Status Job::prepare() {
  sigset_t ours;
  sigemptyset(&ours);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) {
    if (!is_ignored(signal)) sigaddset(&ours, signal);
  }
  sigaddset(&ours, SIGCHLD);
  // Where it is ignored there is no exit code to be had. And what ranks leave behind becomes our
  // child, so that we can wait until it is gone.
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &usual, nullptr);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (sigprocmask(SIG_BLOCK, &ours, &inherited_.mask) != 0 ||
      getrlimit(RLIMIT_NOFILE, &inherited_.files) != 0) {
    return error(Code::kSystemError, "signal mask or limits: %s", std::strerror(errno));
  }
  signals_.reset(signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return error(Code::kSystemError, "signalfd: %s", std::strerror(errno));
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &inherited_.on_pipe);
  // Four descriptors a rank; what fails for want of them says so.
  const rlimit most{inherited_.files.rlim_max, inherited_.files.rlim_max};
  setrlimit(RLIMIT_NOFILE, &most);
  return {};
}

Status Job::start_all() {
  const std::vector<int> cores = options_.bind_cores ? allowed_cores() : std::vector<int>();
  if (options_.bind_cores && cores.empty()) {
    return error(Code::kSystemError, "--bind core: cannot tell which cores may be used: %s",
                 std::strerror(errno));
  }
  if (options_.bind_cores && static_cast<size_t>(options_.nranks) > cores.size()) {
    say("%d ranks on %zu cores: ranks share cores", options_.nranks, cores.size());
  }
  const UniqueFd nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
  UniqueFd first_input;
  if (isatty(STDIN_FILENO)) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      return error(Code::kSystemError, "pipe: %s", std::strerror(errno));
    }
    first_input.reset(ends[0]);
    input_.emplace(STDIN_FILENO, UniqueFd(ends[1]));
  }
  for (int rank = 0; rank < options_.nranks; ++rank) {
    const int stdin_or_pipe = first_input.valid() ? first_input.get() : STDIN_FILENO;
    const int core = cores.empty() ? -1 : cores[static_cast<size_t>(rank) % cores.size()];
    TUTTI_TRY(start(rank, rank == 0 ? stdin_or_pipe : nothing.get(), core));
  }
  return {};
}

Status Job::start(int rank, int input, int core) {
  const std::vector<std::string> environment = rank_environment(environment_, facts_, rank);
  Result<StartedRank> started =
      start_rank({options_.command, environment, inherited_, input, core});
  if (!started.ok()) {
    return error(started.status().code(), "cannot start rank %d of %d: %s", rank, options_.nranks,
                 started.status().text().c_str());
  }
  StartedRank& process = started.value();
  UniqueFd out = std::move(process.out);
  UniqueFd err = std::move(process.err);
  const std::string prefix = prefix_of(rank, options_);
  ranks_.push_back({std::move(process), RankPipe(std::move(out), prefix, &out_),
                    RankPipe(std::move(err), prefix, &err_)});
  ++alive_;
  return {};
}

}  // namespace tutti
