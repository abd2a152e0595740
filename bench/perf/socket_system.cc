#include "bench/perf/socket_system.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "comm/base/clock.h"

namespace perf {

using tutti::Code;
using tutti::Result;
using tutti::Status;

PrivateFolder::~PrivateFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Status PrivateFolder::make() {
  // Not TMPDIR: the path of a socket must be short.
  std::string name = "/tmp/tutti-perf-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    return tutti::error(Code::kSystemError, "cannot make a folder in /tmp: %s",
                        std::strerror(errno));
  }
  path_ = name;
  return {};
}

Result<RankFacts> parse_hello(const std::string& line) {
  RankFacts facts;
  char cpus[256];
  int at = 0;
  if (std::sscanf(line.c_str(), "hello %d %d %d %255s %n", &facts.rank, &facts.nranks, &facts.pid,
                  cpus, &at) != 4) {
    return tutti::error(Code::kRemoteError, "expected a hello, got \"%s\"", line.c_str());
  }
  facts.cpus = cpus;
  facts.version = line.substr(static_cast<size_t>(at));
  return facts;
}

SocketSystem::SocketSystem(std::string name, std::string path, Children& children,
                           double timeout_seconds)
    : System(std::move(name)),
      path_(std::move(path)),
      children_(children),
      timeout_seconds_(timeout_seconds) {}

SocketSystem::~SocketSystem() { unlink(path_.c_str()); }

Result<std::unique_ptr<SocketSystem>> SocketSystem::listen(std::string name,
                                                           const std::string& path,
                                                           Children& children,
                                                           double timeout_seconds) {
  std::unique_ptr<SocketSystem> system(
      new SocketSystem(std::move(name), path, children, timeout_seconds));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  system->listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int fd = system->listener_.get();
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd, 256) != 0) {
    return tutti::error(Code::kSystemError, "cannot listen at %s: %s", path.c_str(),
                        std::strerror(errno));
  }
  return system;
}

Status SocketSystem::wait_readable(const std::vector<int>& fds, int64_t deadline_ns,
                                   const char* what) {
  std::vector<pollfd> polled{{children_.signal_fd(), POLLIN, 0}};
  for (const int fd : fds) polled.push_back({fd, POLLIN, 0});
  while (true) {
    const int64_t left_ms = (deadline_ns - tutti::now_ns()) / 1000000;
    if (left_ms <= 0) {
      return tutti::error(Code::kTimeout, "%s: %s: no answer within %g s", name_.c_str(), what,
                          timeout_seconds_);
    }
    if (poll(polled.data(), polled.size(), static_cast<int>(std::min<int64_t>(left_ms, 1000))) <
            0 &&
        errno != EINTR) {
      return tutti::error(Code::kSystemError, "poll: %s", std::strerror(errno));
    }
    // Answers first: a rank that failed says why before it ends.
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents != 0) return {};
    }
    if (polled[0].revents != 0) TUTTI_TRY(children_.check());
  }
}

Status SocketSystem::read_some(Connection& connection) const {
  char buffer[16384];
  const ssize_t n = recv(connection.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n > 0) {
    connection.received.append(buffer, static_cast<size_t>(n));
    return {};
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  return tutti::error(Code::kRemoteError, "%s: a rank ended in the middle", name_.c_str());
}

Result<std::vector<std::string>> SocketSystem::read_lines(std::vector<Connection>& from,
                                                          const char* what) {
  const int64_t deadline =
      tutti::Deadline::after_ns(static_cast<int64_t>(timeout_seconds_ * 1e9)).at_ns();
  std::vector<std::string> lines(from.size());
  while (true) {
    std::vector<int> waiting;
    for (size_t r = 0; r < from.size(); ++r) {
      const size_t end = from[r].received.find('\n');
      if (end == std::string::npos) {
        if (lines[r].empty()) waiting.push_back(from[r].fd.get());
        continue;
      }
      lines[r] = from[r].received.substr(0, end);
      from[r].received.erase(0, end + 1);
      if (lines[r].rfind("error ", 0) == 0) {
        return tutti::error(Code::kRemoteError, "%s: rank %zu: %s", name_.c_str(), r,
                            lines[r].c_str() + 6);
      }
    }
    if (waiting.empty()) return lines;
    TUTTI_TRY(wait_readable(waiting, deadline, what));
    for (size_t r = 0; r < from.size(); ++r) {
      if (lines[r].empty()) TUTTI_TRY(read_some(from[r]));
    }
  }
}

Status SocketSystem::accept_ranks(int nranks) {
  const int64_t deadline =
      tutti::Deadline::after_ns(static_cast<int64_t>(timeout_seconds_ * 1e9)).at_ns();
  std::vector<Connection> arrived;
  while (arrived.size() < static_cast<size_t>(nranks)) {
    TUTTI_TRY(wait_readable({listener_.get()}, deadline, "starting"));
    const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) arrived.push_back({tutti::UniqueFd(fd), ""});
  }
  const Result<std::vector<std::string>> lines = read_lines(arrived, "starting");
  if (!lines.ok()) return lines.status();
  connections_.resize(arrived.size());
  ranks_.resize(arrived.size());
  for (size_t i = 0; i < arrived.size(); ++i) {
    const Result<RankFacts> facts = parse_hello(lines.value()[i]);
    if (!facts.ok()) return facts.status();
    const int rank = facts.value().rank;
    if (facts.value().nranks != nranks || rank < 0 || rank >= nranks ||
        connections_[static_cast<size_t>(rank)].fd.valid()) {
      return tutti::error(Code::kRemoteError, "%s: expected one of %d ranks, got \"%s\"",
                          name_.c_str(), nranks, lines.value()[i].c_str());
    }
    ranks_[static_cast<size_t>(rank)] = facts.value();
    connections_[static_cast<size_t>(rank)] = std::move(arrived[i]);
  }
  return {};
}

Result<std::vector<std::string>> SocketSystem::ask(const std::string& command) {
  const std::string line = command + "\n";
  for (const Connection& connection : connections_) {
    // Commands are shorter than any socket buffer: a partial send is a broken connection.
    if (send(connection.fd.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(line.size())) {
      TUTTI_TRY(children_.check());
      return tutti::error(Code::kRemoteError, "%s: a rank is gone", name_.c_str());
    }
  }
  return read_lines(connections_, command.c_str());
}

Status SocketSystem::quit() {
  for (const Connection& connection : connections_) {
    if (send(connection.fd.get(), "quit\n", 5, MSG_NOSIGNAL) != 5) {
      return tutti::error(Code::kRemoteError, "%s: a rank is gone", name_.c_str());
    }
  }
  return {};
}

}  // namespace perf
