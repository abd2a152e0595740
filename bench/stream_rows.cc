#include "bench/stream_rows.h"

#include <cstring>
#include <immintrin.h>

namespace limit {

namespace {

constexpr size_t kVector = 64;

__attribute__((target("avx512f"))) uint64_t read_wide(const uint8_t* from, size_t bytes) {
  __m512i sums[4] = {};
  for (size_t at = 0; at + 4 * kVector <= bytes; at += 4 * kVector) {
    for (size_t i = 0; i < 4; ++i) {
      sums[i] = _mm512_xor_si512(sums[i], _mm512_loadu_si512(from + at + i * kVector));
    }
  }
  for (size_t i = 1; i < 4; ++i) sums[0] = _mm512_xor_si512(sums[0], sums[i]);
  uint64_t words[8];
  _mm512_storeu_si512(words, sums[0]);
  return words[0] ^ words[1] ^ words[2] ^ words[3] ^ words[4] ^ words[5] ^ words[6] ^ words[7];
}

__attribute__((target_clones("avx2", "default"))) uint64_t read_plain(const uint8_t* from,
                                                                      size_t bytes) {
  uint64_t sum = 0;
  for (size_t at = 0; at + 8 <= bytes; at += 8) {
    uint64_t word;
    std::memcpy(&word, from + at, 8);
    sum ^= word;
  }
  return sum;
}

}  // namespace

uint64_t read_bytes(const uint8_t* from, size_t bytes) {
  return __builtin_cpu_supports("avx512f") ? read_wide(from, bytes) : read_plain(from, bytes);
}

void write_bytes(uint8_t* to, size_t bytes, bool streaming) {
  if (!streaming) {
    std::memset(to, 1, bytes);
    return;
  }
  const __m128i value = _mm_set1_epi8(1);
  const size_t gap = (16 - reinterpret_cast<uintptr_t>(to) % 16) % 16;
  for (size_t at = gap; at + kVector <= bytes; at += kVector) {
    for (size_t i = 0; i < kVector; i += 16) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + at + i), value);
    }
  }
  _mm_sfence();
}

}  // namespace limit
