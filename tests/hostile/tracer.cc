#include "tests/hostile/tracer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tutti {
namespace {

constexpr uintptr_t kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
constexpr int kSyscallStop = SIGTRAP | 0x80;

void* as_pointer(uintptr_t value) { return reinterpret_cast<void*>(value); }

}  // namespace

Tracer::~Tracer() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, __WALL);
}

Status Tracer::start(const Program& program) {
  std::vector<std::string> environment;
  for (char** e = environ; *e != nullptr; ++e) environment.emplace_back(*e);
  for (const auto& [name, value] : program.environment) {
    environment.push_back(std::string(name).append("=").append(value));
  }
  std::vector<char*> argv, envp;
  for (const std::string& a : program.arguments) argv.push_back(const_cast<char*>(a.c_str()));
  // Later ones must win over those of the test.
  for (auto e = environment.rbegin(); e != environment.rend(); ++e) envp.push_back(e->data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  std::array<int, 2> in, out;
  if (pipe2(in.data(), O_CLOEXEC) != 0 || pipe2(out.data(), O_CLOEXEC) != 0) {
    return error(Code::kSystemError, "pipe: %s", std::strerror(errno));
  }
  input_.reset(in[1]);
  output_.reset(out[0]);
  const UniqueFd theirs_in(in[0]), theirs_out(out[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, out[1], 2);
  const int failed = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return error(Code::kSystemError, "%s: %s", argv[0], std::strerror(failed));
  return Status();
}

bool Tracer::read_until_ready() {
  char byte;
  while (traced_.text.find("ready\n") == std::string::npos) {
    if (read(output_.get(), &byte, 1) != 1) return false;
    traced_.text += byte;
  }
  return true;
}

Status Tracer::seize_threads() {
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/task")) {
    const pid_t thread = std::atoi(task.path().filename().c_str());
    if (ptrace(PTRACE_SEIZE, thread, nullptr, as_pointer(kOptions)) != 0 ||
        ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) != 0) {
      return error(Code::kUnsupported, "ptrace: %s", std::strerror(errno));
    }
  }
  return Status();
}

// What waits, and what a waiter is woken with, has a name here; anything else is a number.
std::string Tracer::name_of(uint64_t number, uint64_t first_argument) const {
  if (number == SYS_sched_yield) return "sched_yield";
  if (number == SYS_membarrier) return "membarrier";
#ifdef SYS_poll
  if (number == SYS_poll) return "poll";
#endif
  if (number == SYS_ppoll) return "poll";
  if (number == SYS_clock_nanosleep) return "nap";
  if (number == SYS_recvmsg) return "recvmsg";
  if (number == SYS_read || number == SYS_write) {
    std::error_code ignored;
    const auto file = std::filesystem::read_symlink(
        "/proc/" + std::to_string(pid_) + "/fd/" + std::to_string(first_argument), ignored);
    if (file == "anon_inode:[eventfd]") return "eventfd";
  }
  return std::to_string(number);
}

void Tracer::at_entry(pid_t thread, uint64_t number, uint64_t first_argument) {
  if (thread != pid_) {
    if (in_block_) ++traced_.elsewhere;
  } else if (number == SYS_getppid) {
    in_block_ = !in_block_;
    if (in_block_) traced_.blocks.push_back(0);
  } else if (in_block_) {
    ++traced_.blocks.back();
    ++traced_.by_name[name_of(number, first_argument)];
  }
}

Traced Tracer::follow() {
  if (!read_until_ready()) return traced_;
  const Status seized = seize_threads();
  if (!seized.ok()) {
    traced_.text = seized.text();
    return traced_;
  }
  const char go = 'g';
  (void)!write(input_.get(), &go, 1);
  for (;;) {
    int status = 0;
    // Of this thread's children and tracees only: others wait for their own.
    const pid_t thread = waitpid(-1, &status, __WALL | __WNOTHREAD);
    if (thread < 0) break;
    if (!WIFSTOPPED(status)) {
      if (thread != pid_) continue;
      traced_.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
      pid_ = -1;
      break;
    }
    int signal = WSTOPSIG(status);
    if (signal == kSyscallStop) {
      __ptrace_syscall_info info = {};
      ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info);
      if (info.op == PTRACE_SYSCALL_INFO_ENTRY) at_entry(thread, info.entry.nr, info.entry.args[0]);
    }
    const bool event = signal == kSyscallStop || status >> 16 != 0;
    ptrace(PTRACE_SYSCALL, thread, nullptr, as_pointer(event ? 0 : static_cast<uintptr_t>(signal)));
  }
  std::array<char, 4096> bytes;
  for (ssize_t n; (n = read(output_.get(), bytes.data(), bytes.size())) > 0;) {
    traced_.text.append(bytes.data(), static_cast<size_t>(n));
  }
  return traced_;
}

}  // namespace tutti
