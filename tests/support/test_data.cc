#include "tests/support/test_data.h"

#include <array>
#include <cstring>

namespace tutti {

namespace {

// How a type is laid out; mantissa_bits 0: not a float.
struct Layout {
  size_t bytes;
  int exponent_bits;
  int mantissa_bits;
};

Layout layout_of(DataType dtype) {
  switch (dtype) {
    case DataType::kFloat16:
      return {2, 5, 10};
    case DataType::kBfloat16:
      return {2, 8, 7};
    case DataType::kFloat32:
      return {4, 8, 23};
    case DataType::kFloat64:
      return {8, 11, 52};
    case DataType::kFloat8e4m3:
      return {1, 4, 3};
    case DataType::kFloat8e5m2:
      return {1, 5, 2};
    default:
      return {size_of(dtype), 0, 0};
  }
}

constexpr size_t kNumSpecials = 16;

// Bit patterns where arithmetic has its corners; twice the same where a type has fewer.
std::array<uint64_t, kNumSpecials> specials_of(const Layout& t) {
  const size_t width = 8 * t.bytes;
  const uint64_t sign = uint64_t{1} << (width - 1);
  const uint64_t ones = sign | (sign - 1);
  if (t.mantissa_bits == 0) {
    return {0,        1,    ones, sign,  sign - 1, sign + 1, 2,         3,
            ones - 1, 0x7f, 0x80, 0x55u, 0,        1,        ones >> 2, sign >> 1};
  }
  const uint64_t top = ((uint64_t{1} << t.exponent_bits) - 1) << t.mantissa_bits;
  const uint64_t hidden = uint64_t{1} << t.mantissa_bits;
  const uint64_t one = ((uint64_t{1} << (t.exponent_bits - 1)) - 1) << t.mantissa_bits;
  return {
      0,   sign,       1,      sign | 1,   top,     sign | top,       top - 1, sign | (top - 1),
      one, sign | one, hidden, hidden - 1, top | 1, top | hidden / 2, ones,    sign | (hidden - 1)};
}

// Between 1/8 and 16 in size: sums of a few ranks neither overflow nor lose everything.
uint64_t moderate(const Layout& t, uint64_t random) {
  const uint64_t mantissa = random & ((uint64_t{1} << t.mantissa_bits) - 1);
  const uint64_t bias = (uint64_t{1} << (t.exponent_bits - 1)) - 1;
  const uint64_t exponent = bias - 3 + (random >> 55) % 7;
  const uint64_t sign = random >> 63;
  return (sign << t.exponent_bits | exponent) << t.mantissa_bits | mantissa;
}

template <typename Element>
void fill(Element* out, size_t first, size_t count, DataType dtype, uint64_t seed,
          uint64_t rank_seed) {
  const Layout t = layout_of(dtype);
  const std::array<uint64_t, kNumSpecials> specials = specials_of(t);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t random = mix_bits(rank_seed ^ (first + i) * 0xd1342543de82ef95u);
    const bool wild = mix_bits(seed + first + i) % 4 == 0;
    uint64_t bits = random;
    if (dtype == DataType::kBool) {
      if ((random >> 56) % (wild ? 2 : 8) == 0) bits = 0;
    } else if ((random >> 48) % (wild ? 4 : 64) == 0) {
      bits = specials[(random >> 32) % kNumSpecials];
    } else if (!wild && t.mantissa_bits > 0) {
      bits = moderate(t, random);
    }
    out[i] = static_cast<Element>(bits);
  }
}

}  // namespace

uint64_t hash_text(std::string_view text, uint64_t seed) {
  uint64_t hash = mix_bits(seed);
  for (char c : text) hash = mix_bits(hash ^ static_cast<unsigned char>(c));
  return hash;
}

void fill_elements(void* out, size_t first, size_t count, DataType dtype, uint64_t seed,
                   uint64_t rank_seed) {
  switch (size_of(dtype)) {
    case 1:
      return fill(static_cast<uint8_t*>(out), first, count, dtype, seed, rank_seed);
    case 2:
      return fill(static_cast<uint16_t*>(out), first, count, dtype, seed, rank_seed);
    case 4:
      return fill(static_cast<uint32_t*>(out), first, count, dtype, seed, rank_seed);
    default:
      return fill(static_cast<uint64_t*>(out), first, count, dtype, seed, rank_seed);
  }
}

}  // namespace tutti
