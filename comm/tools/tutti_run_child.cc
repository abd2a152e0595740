#include "comm/tools/tutti_run_child.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tutti {
namespace {

constexpr int kMaxCores = 8192;

struct Pipe {
  UniqueFd reader, writer;
};

Result<Pipe> open_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return error(Code::kSystemError, "pipe: %s", std::strerror(errno));
  }
  Pipe made{UniqueFd(ends[0]), UniqueFd(ends[1])};
  // The end of the rank stays blocking: programs do not expect anything else.
  fcntl(made.reader.get(), F_SETFL, O_NONBLOCK);
  return made;
}

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

bool pin_to(int core) {
  cpu_set_t sets[kMaxCores / CPU_SETSIZE];
  CPU_ZERO_S(sizeof sets, sets);
  CPU_SET_S(static_cast<size_t>(core), sizeof sets, sets);
  return sched_setaffinity(0, sizeof sets, sets) == 0;
}

struct ChildSide {
  const RankStart& start;
  char** arguments;
  char** environment;
  pid_t launcher;
  int out, err, exec_error;
};

// Between fork and exec: nothing here may allocate. Returns only when something failed.
void become_rank(const ChildSide& child) {
  setpgid(0, 0);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return;
  // A launcher that died before the line above sends no signal any more.
  if (getppid() != child.launcher) _exit(1);
  if (dup2(child.start.input, STDIN_FILENO) < 0 || dup2(child.out, STDOUT_FILENO) < 0 ||
      dup2(child.err, STDERR_FILENO) < 0) {
    return;
  }
  if (child.start.core >= 0 && !pin_to(child.start.core)) return;
  if (setrlimit(RLIMIT_NOFILE, &child.start.inherited.files) != 0) return;
  sigaction(SIGPIPE, &child.start.inherited.on_pipe, nullptr);
  sigprocmask(SIG_SETMASK, &child.start.inherited.mask, nullptr);
  execvpe(child.arguments[0], child.arguments, child.environment);
}

}  // namespace

Result<StartedRank> start_rank(const RankStart& start) {
  Result<Pipe> out = open_pipe();
  if (!out.ok()) return out.status();
  Result<Pipe> err = open_pipe();
  if (!err.ok()) return err.status();
  Result<Pipe> exec_error = open_pipe();
  if (!exec_error.ok()) return exec_error.status();
  std::vector<char*> arguments = pointers_to(start.command);
  std::vector<char*> environment = pointers_to(start.environment);
  const ChildSide child{start,
                        arguments.data(),
                        environment.data(),
                        getpid(),
                        out.value().writer.get(),
                        err.value().writer.get(),
                        exec_error.value().writer.get()};
  const pid_t pid = fork();
  if (pid < 0) return error(Code::kSystemError, "fork: %s", std::strerror(errno));
  if (pid == 0) {
    become_rank(child);
    const int why = errno;
    const ssize_t told = write(child.exec_error, &why, sizeof why);
    _exit(told == sizeof why ? 127 : 126);
  }
  // On both sides, so that it is done whoever runs first; refused once the rank has begun.
  setpgid(pid, pid);
  // By number: <sys/pidfd.h> of glibc 2.36 declares it without extern "C".
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {
    const int why = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return error(Code::kSystemError, "pidfd_open: %s", std::strerror(why));
  }
  return StartedRank{pid, std::move(pidfd), std::move(exec_error.value().reader),
                     std::move(out.value().reader), std::move(err.value().reader)};
}

int exec_failure(const StartedRank& rank) {
  int why = 0;
  return read(rank.exec_error.get(), &why, sizeof why) == sizeof why ? why : 0;
}

std::vector<int> allowed_cores() {
  cpu_set_t sets[kMaxCores / CPU_SETSIZE];
  CPU_ZERO_S(sizeof sets, sets);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof sets, sets) != 0) return cores;
  for (int core = 0; core < kMaxCores; ++core) {
    if (CPU_ISSET_S(static_cast<size_t>(core), sizeof sets, sets)) cores.push_back(core);
  }
  return cores;
}

}  // namespace tutti
