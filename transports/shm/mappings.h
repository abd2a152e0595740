// What lies in a stretch of this process's address space, as the kernel tells it
// (/proc/self/smaps), and whether other memory of the same contents may take its place.
//
// Pure functions, but for mappings_of(). Any thread.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "comm/base/status.h"

namespace tutti {

struct Mapping {
  uintptr_t low = 0;
  uintptr_t high = 0;
  std::string access;  // such as "rw-p"
  uint64_t file = 0;   // its inode; 0 for none
  std::string name;    // of the file, or what the kernel calls it; empty for most memory
  std::string flags;   // of two letters, each followed by a blank (proc(5), VmFlags)
};

// Those that overlap [low, high), in order of addresses.
std::vector<Mapping> parse_mappings(std::istream& smaps, uintptr_t low, uintptr_t high);
// kSystemError where /proc is not there.
Result<std::vector<Mapping>> mappings_of(uintptr_t low, uintptr_t high);

// Of [low, high): what is there that is not ordinary memory, private to this process, and where.
// Empty when all of it is.
std::string other_than_private(const std::vector<Mapping>& mappings, uintptr_t low, uintptr_t high);

}  // namespace tutti
