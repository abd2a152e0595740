#include "tests/tools/launched.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sstream>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"

namespace tutti {
namespace {

// Far beyond what any test needs on a machine that is busy.
constexpr int64_t kLimitNs = 60'000'000'000;

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// A file that nobody else sees, so that no writer has to wait for a reader.
UniqueFd input_with(const std::string& text) {
  UniqueFd file(memfd_create("input", MFD_CLOEXEC));
  const bool written =
      write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!written || lseek(file.get(), 0, SEEK_SET) != 0) file.reset();
  return file;
}

void use_terminal(int terminal) {
  setsid();
  ioctl(terminal, TIOCSCTTY, 0);
  for (const int stream : {0, 1, 2}) dup2(terminal, stream);
}

}  // namespace

Launched::Launched(const LaunchSetup& setup) {
  std::vector<std::string> words = {TUTTI_RUN};
  words.insert(words.end(), setup.arguments.begin(), setup.arguments.end());
  std::vector<std::string> environment = setup.environment;
  for (char** variable = environ; *variable != nullptr; ++variable)
    environment.push_back(*variable);
  const std::vector<char*> arguments = pointers_to(words);
  const std::vector<char*> variables = pointers_to(environment);
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return;
  out_pipe_.reset(out[0]);
  err_pipe_.reset(err[0]);
  const UniqueFd out_writer(out[1]), err_writer(err[1]);
  const UniqueFd input = input_with(setup.input);
  pid_ = fork();
  if (pid_ != 0) {
    pidfd_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    return;
  }
  for (const int signal : {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGTSTP, SIGPIPE}) {
    std::signal(signal, SIG_DFL);
  }
  if (setup.ignore_child_signal) std::signal(SIGCHLD, SIG_IGN);
  dup2(input.get(), 0);
  dup2(out_writer.get(), 1);
  dup2(err_writer.get(), 2);
  if (setup.terminal >= 0) use_terminal(setup.terminal);
  for (const int stream : {0, 1, 2}) {
    if (setup.close_streams) close(stream);
  }
  execve(arguments[0], arguments.data(), variables.data());
  _exit(99);
}

Launched::~Launched() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

// False at the end of that stream.
bool Launched::drain(UniqueFd* pipe, std::string* text) {
  std::array<char, 65536> chunk;
  const ssize_t n = read(pipe->get(), chunk.data(), chunk.size());
  if (n > 0) text->append(chunk.data(), static_cast<size_t>(n));
  return n > 0;
}

// False when nothing more can come, or not in time.
bool Launched::read_some(int64_t deadline) {
  const int64_t left_ms = (deadline - now_ns()) / 1'000'000;
  if (left_ms <= 0 || (!out_pipe_.valid() && !err_pipe_.valid())) return false;
  pollfd fds[2] = {{out_pipe_.get(), POLLIN, 0}, {err_pipe_.get(), POLLIN, 0}};
  if (poll(fds, 2, static_cast<int>(left_ms)) <= 0) return false;
  if (fds[0].revents != 0 && !drain(&out_pipe_, &out_)) out_pipe_.reset();
  if (fds[1].revents != 0 && !drain(&err_pipe_, &err_)) err_pipe_.reset();
  return true;
}

bool Launched::wait_for(const std::string& text) {
  const auto has_line_with = [&text](const std::string& all) {
    const size_t at = all.find(text);
    return at != std::string::npos && all.find('\n', at) != std::string::npos;
  };
  const int64_t deadline = now_ns() + kLimitNs;
  while (!has_line_with(out_) && !has_line_with(err_)) {
    if (!read_some(deadline)) return false;
  }
  return true;
}

int Launched::wait() {
  const int64_t deadline = now_ns() + kLimitNs;
  while (read_some(deadline)) {
  }
  return wait_unread();
}

int Launched::wait_unread() {
  pollfd ended = {pidfd_.get(), POLLIN, 0};
  if (pid_ <= 0 || poll(&ended, 1, static_cast<int>(kLimitNs / 1'000'000)) <= 0) return -1;
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> lines_with(const std::string& prefix, const std::string& text) {
  std::vector<std::string> lines;
  for (const std::string& line : lines_of(text)) {
    if (line.starts_with(prefix)) lines.push_back(line.substr(prefix.size()));
  }
  return lines;
}

int number_after(const std::string& label, const std::string& text) {
  const size_t at = text.find(label);
  return at == std::string::npos ? -1 : std::atoi(text.c_str() + at + label.size());
}

bool is_stopped_in_time(pid_t pid) {
  const int64_t deadline = now_ns() + kLimitNs;
  while (now_ns() < deadline) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string number, name, state;
    stat >> number >> name >> state;
    if (state == "T") return true;
    if (!stat) return false;
    sched_yield();
  }
  return false;
}

bool is_gone(pid_t pid) { return pid > 0 && kill(pid, 0) != 0 && errno == ESRCH; }

}  // namespace tutti
