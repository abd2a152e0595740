// The size of the last-level cache that this process's cores share.
#pragma once

#include <cstddef>
#include <string>

namespace tutti {

// Bytes of the largest cache named under `root` (/sys/devices/system/cpu/cpu0/cache): the kernel's
// view of this machine. The processor's own answer (sysconf) is that of the whole socket, which a
// virtual machine has only a slice of; it serves where there is no such folder. At least 1 MiB.
// Reads files; not for the data path.
size_t last_cache_bytes(const std::string& root = "/sys/devices/system/cpu/cpu0/cache");

}  // namespace tutti
