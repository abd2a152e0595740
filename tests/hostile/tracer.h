// Tracer: counts the system calls of a program between marks, by ptrace, for tests.
//
// The program prints "ready" and reads from its standard input; then the tracer takes hold of all
// its threads and lets it go on. Its main thread makes a mark with getppid(), which it must not
// call otherwise: every second mark ends a block. By one thread, the one that made it; what it
// traces dies with it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <sys/types.h>
#include <vector>

#include "comm/base/status.h"
#include "comm/base/unique_fd.h"
#include "tests/launch/job.h"

namespace tutti {

struct Traced {
  int status = -1;  // as Outcome
  std::string text;
  std::vector<uint64_t> blocks;             // calls of the main thread in each block
  std::map<std::string, uint64_t> by_name;  // of the main thread, in blocks; numbers without a name
  uint64_t elsewhere = 0;  // calls of other threads while the main one is in a block
};

class Tracer {
 public:
  Tracer() = default;
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // kUnsupported where ptrace is forbidden.
  Status start(const Program& program);
  // Until it has ended.
  Traced follow();

 private:
  bool read_until_ready();
  Status seize_threads();
  void at_entry(pid_t thread, uint64_t number, uint64_t first_argument);
  std::string name_of(uint64_t number, uint64_t first_argument) const;

  pid_t pid_ = -1;
  UniqueFd input_, output_;
  bool in_block_ = false;
  Traced traced_;
};

}  // namespace tutti
