// Which processors the calling thread may run on. Thread-safe.
#pragma once

#include <string>

namespace perf {

std::string usable_cpus();  // "0-3,8"

}  // namespace perf
