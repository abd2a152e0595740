// How many cores a cgroup leaves this process. Pure file reading with the paths passed in, so that
// tests use made-up trees; usable_cores() (wait.h) passes the real ones. Thread-safe.
#pragma once

#include <string>

namespace tutti {

// The CPU quota, rounded up to whole cores, of the tightest cgroup on the way from the process's
// own group to the root; 0 when there is none. `self` is the text file that names the groups of
// the process (/proc/self/cgroup), `root` the folder the hierarchies are mounted under
// (/sys/fs/cgroup). Knows version 2 (cpu.max) and version 1 (cpu.cfs_quota_us, cpu.cfs_period_us).
int cgroup_core_quota(const std::string& self, const std::string& root);

}  // namespace tutti
