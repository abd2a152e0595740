// 64-bit hashes for fingerprints and tables. The same bytes and seed give the same value in every
// process and build of one wire version; not for secrets. Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tutti {

// XXH3 of `bytes` bytes. `data` may be null when `bytes` is 0.
uint64_t hash64(const void* data, size_t bytes, uint64_t seed = 0);

// Folds one more value into a running hash; the order of values matters.
constexpr uint64_t hash_combine(uint64_t hash, uint64_t value) {
  // The finaliser of splitmix64 over a sum that keeps (0, 0) away from its fixed point 0.
  uint64_t mixed = (hash ^ value) + 0x9e3779b97f4a7c15u * (hash + 1);
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return mixed ^ (mixed >> 31);
}

}  // namespace tutti
