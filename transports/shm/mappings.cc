#include "transports/shm/mappings.h"

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string_view>

namespace tutti {
namespace {

// What has been asked of memory that shared pages in its place would not keep.
struct FlagMeaning {
  const char* flag;
  const char* meaning;
};
constexpr FlagMeaning kKept[] = {
    {"ht ", "huge pages (hugetlbfs)"},
    {"gd ", "a stack"},
    {"lo ", "locked memory (mlock)"},
    {"dc ", "memory that a child shall not have (MADV_DONTFORK)"},
    {"wf ", "memory that a child shall have empty (MADV_WIPEONFORK)"},
    {"dd ", "memory that shall not be dumped (MADV_DONTDUMP)"},
    {"um ", "memory under userfaultfd"},
    {"uw ", "memory under userfaultfd"},
    {"ui ", "memory under userfaultfd"},
    {"io ", "memory of a device"},
    {"pf ", "memory of a device"},
    {"sl ", "sealed memory (mseal)"},
    {"dp ", "memory that the system may drop"},
};

// "low-high access offset device inode name", which no line about a mapping looks like.
bool parse_header(const std::string& line, Mapping* out) {
  char access[8];
  int name = 0;
  Mapping mapping;
  const int fields =
      std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %7s %*x %*x:%*x %" SCNu64 " %n",
                  &mapping.low, &mapping.high, access, &mapping.file, &name);
  if (fields != 4) return false;
  mapping.access = access;
  mapping.name = line.substr(static_cast<size_t>(name));
  *out = std::move(mapping);
  return true;
}

std::string kind_of(const Mapping& mapping) {
  for (const FlagMeaning& kept : kKept) {
    if (mapping.flags.find(kept.flag) != std::string::npos) return kept.meaning;
  }
  const std::string& name = mapping.name;
  if (mapping.access.size() < 4) return "memory of an unknown kind";
  if (mapping.access[3] != 'p') return "shared memory" + (name.empty() ? "" : " (" + name + ")");
  if (mapping.file != 0) return "memory of a file (" + name + ")";
  if (mapping.access.substr(0, 2) != "rw") return "memory that cannot be written";
  if (mapping.access[2] != '-') return "memory that can be executed";
  // glibc and others may have given theirs a name (PR_SET_VMA_ANON_NAME).
  const bool plain = name.empty() || name == "[heap]" || name.rfind("[anon:", 0) == 0;
  return plain ? "" : name;
}

std::string at(uintptr_t address) {
  char text[32];
  std::snprintf(text, sizeof text, " at %#" PRIxPTR, address);
  return text;
}

}  // namespace

std::vector<Mapping> parse_mappings(std::istream& smaps, uintptr_t low, uintptr_t high) {
  constexpr std::string_view kFlags = "VmFlags: ";
  std::vector<Mapping> found;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    Mapping mapping;
    if (parse_header(line, &mapping)) {
      if (mapping.low >= high) break;
      inside = mapping.high > low;
      if (inside) found.push_back(std::move(mapping));
    } else if (inside && line.compare(0, kFlags.size(), kFlags) == 0) {
      found.back().flags = line.substr(kFlags.size());
    }
  }
  return found;
}

Result<std::vector<Mapping>> mappings_of(uintptr_t low, uintptr_t high) {
  std::ifstream smaps("/proc/self/smaps");
  if (smaps) return parse_mappings(smaps, low, high);
  return error(Code::kSystemError, "shm: cannot read /proc/self/smaps");
}

std::string other_than_private(const std::vector<Mapping>& mappings, uintptr_t low,
                               uintptr_t high) {
  uintptr_t seen = low;
  for (const Mapping& mapping : mappings) {
    if (mapping.low > seen) break;
    const std::string kind = kind_of(mapping);
    if (!kind.empty()) return kind + at(seen);
    seen = mapping.high;
  }
  return seen < high ? "nothing" + at(seen) : "";
}

}  // namespace tutti
