// What memory allows to dispatch and combine: as many bytes read, and as many written, as they have
// to, each in one pass in order. Stand-alone on purpose, like limit.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace limit {

// A value that depends on every byte, so that all are loaded.
uint64_t read_bytes(const uint8_t* from, size_t bytes);

// `streaming`: past the caches.
void write_bytes(uint8_t* to, size_t bytes, bool streaming);

}  // namespace limit
