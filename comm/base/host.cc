#include "comm/base/host.h"

#include <algorithm>
#include <fcntl.h>
#include <unistd.h>

#include "comm/base/unique_fd.h"

namespace tutti {

std::string host_name() {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0) return "unknown host";
  return name;
}

std::string boot_id() {
  const UniqueFd fd(open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  char text[64];
  const ssize_t got = fd.valid() ? read(fd.get(), text, sizeof text) : 0;
  return {text, static_cast<size_t>(std::max<ssize_t>(got, 0))};
}

std::string network_name_space() {
  char text[64];
  const ssize_t got = readlink("/proc/self/ns/net", text, sizeof text);
  return {text, static_cast<size_t>(std::max<ssize_t>(got, 0))};
}

}  // namespace tutti
