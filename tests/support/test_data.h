// Seeded test data: bits of every type that a reduction must get right, NaN, infinities, zeros of
// both signs, subnormals and extremes among them.
//
// Element i is a function of (seed, rank_seed, i) alone, so that any part may be made again, by any
// thread. At most indices all ranks hold moderate numbers, so that sums round rather than overflow;
// at every fourth index ("wild", chosen by `seed`) all ranks hold arbitrary bits. No state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "comm/base/types.h"

namespace tutti {

// A well-mixed function of x.
constexpr uint64_t mix_bits(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

uint64_t hash_text(std::string_view text, uint64_t seed);

// Writes elements [first, first + count) of the data of `rank_seed`.
void fill_elements(void* out, size_t first, size_t count, DataType dtype, uint64_t seed,
                   uint64_t rank_seed);

}  // namespace tutti
