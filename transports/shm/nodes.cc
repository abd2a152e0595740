#include "transports/shm/nodes.h"

#include <cerrno>
#include <charconv>
#include <fstream>
#include <linux/mempolicy.h>
#include <string>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace tutti {
namespace {

constexpr int kMostNodes = 1024;  // of any kernel
constexpr int kWordBits = 8 * sizeof(unsigned long);

int current_node() {
  int mode = MPOL_DEFAULT;
  if (syscall(SYS_get_mempolicy, &mode, nullptr, 0, nullptr, 0) != 0 || mode != MPOL_DEFAULT) {
    return -1;
  }
  unsigned node = 0;
  return syscall(SYS_getcpu, nullptr, &node, nullptr) == 0 ? static_cast<int>(node) : -1;
}

int prefer_node(void* at, size_t bytes, int node) {
  unsigned long nodes[kMostNodes / kWordBits] = {};
  if (node >= kMostNodes) return EINVAL;
  nodes[node / kWordBits] = 1ul << (node % kWordBits);
  return syscall(SYS_mbind, at, bytes, MPOL_PREFERRED, nodes, kMostNodes, 0) == 0 ? 0 : errno;
}

}  // namespace

int count_nodes(std::string_view list) {
  int count = 0;
  const char* at = list.data();
  const char* const end = at + list.size();
  while (at < end && *at != '\n') {
    int first = 0;
    auto read = std::from_chars(at, end, first);
    int last = first;
    if (read.ec == std::errc() && read.ptr < end && *read.ptr == '-') {
      read = std::from_chars(read.ptr + 1, end, last);
    }
    if (read.ec != std::errc() || last < first || last >= kMostNodes) return 1;
    count += last - first + 1;
    at = read.ptr;
    if (at < end && *at == ',') ++at;
  }
  return count > 0 ? count : 1;
}

MemoryNodes::System MemoryNodes::host() {
  std::ifstream online("/sys/devices/system/node/online");
  std::string list;
  std::getline(online, list);
  return {count_nodes(list), current_node, prefer_node};
}

MemoryNodes::MemoryNodes(System system) : system_(std::move(system)) {}

int MemoryNodes::current() const {
  return system_.count > 1 && refused() == 0 ? system_.current() : -1;
}

void MemoryNodes::prefer(void* at, size_t bytes, int node) {
  if (system_.count < 2 || node < 0 || refused() != 0) return;
  const int failed = system_.prefer(at, bytes, node);
  if (failed != 0) refused_.store(failed, std::memory_order_release);
}

}  // namespace tutti
