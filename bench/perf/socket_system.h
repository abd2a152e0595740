// SocketSystem: ranks in other processes (or threads of one), each at the end of a unix socket in a
// private folder. One thread.
#pragma once

#include <memory>

#include "bench/perf/children.h"
#include "bench/perf/system.h"

namespace perf {

// A fresh folder that only this user can enter, removed with this object.
class PrivateFolder {
 public:
  PrivateFolder() = default;
  ~PrivateFolder();
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;
  tutti::Status make();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class SocketSystem : public System {
 public:
  // Listens; then the caller starts the ranks, which connect to `path`.
  static tutti::Result<std::unique_ptr<SocketSystem>> listen(std::string name,
                                                             const std::string& path,
                                                             Children& children,
                                                             double timeout_seconds);
  ~SocketSystem() override;
  // Waits until that many ranks have said hello.
  tutti::Status accept_ranks(int nranks);

  tutti::Result<std::vector<std::string>> ask(const std::string& command) override;
  tutti::Status quit() override;

 private:
  struct Connection {
    tutti::UniqueFd fd;
    std::string received;
  };
  SocketSystem(std::string name, std::string path, Children& children, double timeout_seconds);
  // Reads one line from each, in any order.
  tutti::Result<std::vector<std::string>> read_lines(std::vector<Connection>& from,
                                                     const char* what);
  tutti::Status read_some(Connection& connection) const;
  tutti::Status wait_readable(const std::vector<int>& fds, int64_t deadline_ns, const char* what);

  std::string path_;
  Children& children_;
  double timeout_seconds_;
  tutti::UniqueFd listener_;
  std::vector<Connection> connections_;  // by rank
};

}  // namespace perf
