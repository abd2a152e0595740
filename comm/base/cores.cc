#include "comm/base/cores.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <fstream>
#include <optional>
#include <sched.h>
#include <thread>

namespace tutti {
namespace {

// One group's own limit in cores, nullopt when it sets none or its files are not there.
std::optional<double> quota_v2(const std::string& group) {
  std::ifstream file(group + "/cpu.max");
  double quota = 0;
  double period = 0;
  // "max 100000" fails to read as a number, which is the right answer: no limit.
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

std::optional<double> quota_v1(const std::string& group) {
  std::ifstream quota_file(group + "/cpu.cfs_quota_us");
  std::ifstream period_file(group + "/cpu.cfs_period_us");
  double quota = 0;
  double period = 0;
  if (!(quota_file >> quota) || !(period_file >> period)) return std::nullopt;
  if (quota <= 0 || period <= 0) return std::nullopt;  // -1: no limit
  return quota / period;
}

bool has_word(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == word) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

using ReadQuota = std::optional<double> (*)(const std::string&);

// The tightest limit from mount/path up to mount itself: a parent's limit holds for its children.
// A container often sees its group's path as the host names it, with only the mount root present;
// walking upwards finds that root too.
void tighten(std::optional<double>* tightest, const std::string& mount, std::string path,
             ReadQuota read) {
  while (true) {
    const std::optional<double> own = read(mount + path);
    if (own && (!*tightest || *own < **tightest)) *tightest = own;
    if (path.empty()) return;
    const size_t slash = path.rfind('/');
    path.resize(slash == std::string::npos ? 0 : slash);
  }
}

// Bytes of the longest mask asked for: more cores than any host has.
constexpr size_t kLongestMask = size_t{1} << 16;

// Empty where the system does not tell.
std::string affinity_mask() {
  for (size_t bytes = sizeof(cpu_set_t); bytes <= kLongestMask; bytes *= 2) {
    std::string mask(bytes, '\0');
    if (sched_getaffinity(0, bytes, reinterpret_cast<cpu_set_t*>(mask.data())) == 0) {
      mask.resize(mask.find_last_not_of('\0') + 1);
      return mask;
    }
    if (errno != EINVAL) break;  // EINVAL: the host has more cores than that
  }
  return {};
}

}  // namespace

Cores Cores::own() {
  return {affinity_mask(), cgroup_core_quota("/proc/self/cgroup", "/sys/fs/cgroup")};
}

void Cores::add(const Cores& other) {
  mask.resize(std::max(mask.size(), other.mask.size()));
  for (size_t i = 0; i < other.mask.size(); ++i) {
    mask[i] = static_cast<char>(mask[i] | other.mask[i]);
  }
  quota = quota == 0 || other.quota == 0 ? 0 : std::max(quota, other.quota);
}

int Cores::count() const {
  int cores = 0;
  for (const char byte : mask) cores += std::popcount(static_cast<unsigned char>(byte));
  if (cores == 0) cores = static_cast<int>(std::thread::hardware_concurrency());
  if (quota > 0) cores = std::min(cores, quota);
  return std::max(cores, 1);
}

int usable_cores() { return Cores::own().count(); }

int cgroup_core_quota(const std::string& self, const std::string& root) {
  std::ifstream file(self);
  std::string line;
  std::optional<double> tightest;
  while (std::getline(file, line)) {
    // hierarchy-number:controllers:path; version 2 has the line "0::path".
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    if (controllers.empty()) {
      tighten(&tightest, root, path, quota_v2);
      tighten(&tightest, root + "/unified", path, quota_v2);
    } else if (has_word(controllers, "cpu")) {
      std::string mount = root;
      mount.append("/").append(controllers);
      tighten(&tightest, mount, path, quota_v1);
      tighten(&tightest, root + "/cpu", path, quota_v1);
    }
  }
  if (!tightest) return 0;
  const int whole = static_cast<int>(std::min(*tightest, 1e6));
  return std::max(whole + (whole < *tightest ? 1 : 0), 1);
}

}  // namespace tutti
