#include "comm/base/hash.h"

#include <xxhash.h>

namespace tutti {

uint64_t hash64(const void* data, size_t bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

}  // namespace tutti
