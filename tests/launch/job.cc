#include "tests/launch/job.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/unique_fd.h"

namespace tutti {
namespace {

struct Running {
  pid_t pid = -1;
  UniqueFd output;
};

Running start(const Program& program) {
  std::vector<std::string> environment;
  for (char** e = environ; *e != nullptr; ++e) environment.emplace_back(*e);
  for (const auto& [name, value] : program.environment) {
    environment.push_back(name);
    environment.back().append("=").append(value);
  }
  std::vector<char*> argv, envp;
  for (const std::string& a : program.arguments) argv.push_back(const_cast<char*>(a.c_str()));
  // Later ones must win over those of the test.
  for (auto e = environment.rbegin(); e != environment.rend(); ++e) {
    envp.push_back(const_cast<char*>(e->c_str()));
  }
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  std::array<int, 2> pipe_ends;
  EXPECT_EQ(pipe2(pipe_ends.data(), O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 2);
  Running running;
  running.output.reset(pipe_ends[0]);
  const int failed =
      posix_spawn(&running.pid, argv[0], &actions, nullptr, argv.data(), envp.data());
  EXPECT_EQ(failed, 0) << argv[0];
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[1]);
  return running;
}

// Reads what is there; closes the pipe at its end.
void read_from(Running* running, std::string* text) {
  std::array<char, 4096> bytes;
  const ssize_t n = read(running->output.get(), bytes.data(), bytes.size());
  if (n > 0) {
    text->append(bytes.data(), static_cast<size_t>(n));
  } else if (n == 0 || errno != EINTR) {
    running->output.reset();
  }
}

int exit_status(pid_t pid, bool killed) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (killed) return 124;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

}  // namespace

std::vector<Outcome> run_all(const std::vector<Program>& programs, int limit_s) {
  std::vector<Running> running;
  for (const Program& program : programs) running.push_back(start(program));
  std::vector<Outcome> outcomes(programs.size());
  const int64_t end = now_ns() + int64_t{limit_s} * 1'000'000'000;
  bool late = false;
  for (;;) {
    std::vector<pollfd> fds;
    std::vector<size_t> which;
    for (size_t i = 0; i < running.size(); ++i) {
      if (!running[i].output.valid()) continue;
      fds.push_back({running[i].output.get(), POLLIN, 0});
      which.push_back(i);
    }
    if (fds.empty()) break;
    late = now_ns() > end;
    if (late) break;
    poll(fds.data(), fds.size(), 200);
    for (size_t k = 0; k < fds.size(); ++k) {
      if (fds[k].revents != 0) read_from(&running[which[k]], &outcomes[which[k]].text);
    }
  }
  for (size_t i = 0; i < running.size(); ++i) {
    const bool kill_it = late && running[i].output.valid();
    if (kill_it) kill(running[i].pid, SIGKILL);
    outcomes[i].status = exit_status(running[i].pid, kill_it);
  }
  return outcomes;
}

std::vector<Program> helper_job(const std::string& folder, int n,
                                const std::vector<std::string>& arguments) {
  std::vector<Program> programs;
  for (int r = 0; r < n; ++r) {
    Program p;
    p.environment = {{"TUTTI_RANK", std::to_string(r)},
                     {"TUTTI_NRANKS", std::to_string(n)},
                     {"TUTTI_RENDEZVOUS", "file://" + folder},
                     {"TUTTI_SECRET", "000102030405060708090a0b0c0d0e0f"}};
    p.arguments = {TUTTI_LAUNCH_HELPER};
    p.arguments.insert(p.arguments.end(), arguments.begin(), arguments.end());
    programs.push_back(p);
  }
  return programs;
}

HeldPort::HeldPort() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
  number_ = ntohs(address.sin_port);
}

HeldPort::~HeldPort() { close(socket_); }

}  // namespace tutti
