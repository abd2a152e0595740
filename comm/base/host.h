// Which host this process runs on, as far as the kernel tells. Pure questions, any thread.
#pragma once

#include <string>

namespace tutti {

std::string host_name();
// Different on every boot of every kernel; empty where it cannot be read.
std::string boot_id();
// Two processes with the same one reach each other's loopback and abstract sockets.
std::string network_name_space();

}  // namespace tutti
