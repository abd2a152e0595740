// The host as a device: ordinary memory, the SIMD kernels, streams without threads, and threads
// that help with large kernels.
//
// It answers for every pointer that no other device owns. Thread-safe as tutti/device.h says.
#pragma once

#include "tutti/device.h"

namespace tutti {

// The table; static storage, immutable.
const tutti_device_api* host_device_api();

}  // namespace tutti
