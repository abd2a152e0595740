// System: something that is measured, seen from the harness: a set of ranks that take the same
// command and each give an answer (rank_server.h). Between commands its ranks use no processor.
#pragma once

#include <string>
#include <vector>

#include "comm/base/status.h"

namespace perf {

struct RankFacts {
  int rank = -1;
  int nranks = 0;
  int pid = 0;
  std::string cpus;
  std::string version;
};
tutti::Result<RankFacts> parse_hello(const std::string& line);

class System {
 public:
  virtual ~System() = default;
  const std::string& name() const { return name_; }  // "tutti", "openmpi", ...
  const std::vector<RankFacts>& ranks() const { return ranks_; }
  // The answers by rank. Fails when a rank answers "error", ends or takes too long.
  virtual tutti::Result<std::vector<std::string>> ask(const std::string& command) = 0;
  // The last command: the ranks leave.
  virtual tutti::Status quit() = 0;

 protected:
  explicit System(std::string name) : name_(std::move(name)) {}
  std::string name_;
  std::vector<RankFacts> ranks_;
};

}  // namespace perf
