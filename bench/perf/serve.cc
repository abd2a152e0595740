// serve(): the rank's end of the harness's socket.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "bench/perf/rank_server.h"
#include "comm/base/unique_fd.h"

namespace perf {

namespace {

tutti::UniqueFd connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  tutti::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid() ||
      connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return {};
  }
  return fd;
}

bool send_line(int fd, std::string line) {
  line += '\n';
  size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t n = send(fd, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

// Commands come one at a time: whatever follows a newline belongs to nobody.
bool read_line(int fd, std::string* line) {
  line->clear();
  char buffer[4096];
  while (line->empty() || line->back() != '\n') {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    line->append(buffer, static_cast<size_t>(n));
  }
  line->pop_back();
  return true;
}

}  // namespace

int serve(const std::string& path, RankSystem& system) {
  // Whoever started this rank takes it along, however it ends.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const tutti::UniqueFd fd = connect_to(path);
  if (!fd.valid()) {
    std::fprintf(stderr, "rank %d: cannot connect to the harness at %s: %s\n", system.rank(),
                 path.c_str(), std::strerror(errno));
    return 1;
  }
  RankServer server(system);
  if (!send_line(fd.get(), server.hello())) return 1;
  std::string command;
  while (read_line(fd.get(), &command)) {
    if (command == "quit") return 0;
    const std::string answer = server.answer(command);
    if (!send_line(fd.get(), answer)) return 1;
    // The other ranks may be waiting inside the call that failed here: no clean end from here on.
    if (answer.compare(0, 6, "error ") == 0) return 1;
  }
  return 1;  // the harness is gone
}

}  // namespace perf
