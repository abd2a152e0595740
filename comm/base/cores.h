// Which cores this process may run on, by affinity and by cgroup. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace tutti {

// Values: what a process may use, as it says it to others.
struct Cores {
  std::string mask;  // bit n % 8 of byte n / 8: core n of the host
  int quota = 0;     // at a time; 0: no limit

  // Of the calling thread, now.
  static Cores own();
  // Adds what another process of the host may use: any core of either, and the larger quota, for
  // they may be in one group.
  void add(const Cores& other);
  int count() const;  // at least 1
};

// Cores this process may run on, at least 1. Read once per call.
int usable_cores();

// The CPU quota, rounded up to whole cores, of the tightest cgroup on the way from the process's
// own group to the root; 0 when there is none. `self` is the text file that names the groups of
// the process (/proc/self/cgroup), `root` the folder the hierarchies are mounted under
// (/sys/fs/cgroup). Knows version 2 (cpu.max) and version 1 (cpu.cfs_quota_us, cpu.cfs_period_us).
// Pure file reading with the paths passed in, so that tests use made-up trees.
int cgroup_core_quota(const std::string& self, const std::string& root);

}  // namespace tutti
