#include "bench/stream_rows.h"

#include <algorithm>
#include <cstring>
#include <immintrin.h>

namespace limit {

namespace {

constexpr size_t kLine = 64;

// A part of what is to be moved: `reads` and `writes` streams of `bytes`, one after the other.
// `seed` is what the lines that are written begin with: never only zeros, which some machines store
// twice as fast as anything else.
struct Part {
  const uint8_t* from;
  size_t reads;
  uint8_t* to;
  size_t writes;
  size_t bytes;
  uint64_t seed;
};

__attribute__((target("avx512f"))) uint64_t move_wide(const Part& p, bool streaming) {
  __m512i sum = _mm512_set1_epi64(static_cast<long long>(p.seed));
  for (size_t at = 0; at + kLine <= p.bytes; at += kLine) {
    for (size_t i = 0; i < p.reads; ++i) {
      sum = _mm512_xor_si512(sum, _mm512_loadu_si512(p.from + i * p.bytes + at));
    }
    for (size_t i = 0; i < p.writes; ++i) {
      uint8_t* const line = p.to + i * p.bytes + at;
      if (streaming) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(line), sum);
      } else {
        _mm512_storeu_si512(line, sum);
      }
    }
  }
  uint64_t words[8];
  _mm512_storeu_si512(words, sum);
  return words[0] ^ words[1] ^ words[2] ^ words[3] ^ words[4] ^ words[5] ^ words[6] ^ words[7];
}

__attribute__((target_clones("avx2", "default"))) uint64_t move_plain(const Part& p) {
  uint64_t sum = p.seed;
  for (size_t at = 0; at + 8 <= p.bytes; at += 8) {
    for (size_t i = 0; i < p.reads; ++i) {
      uint64_t word;
      std::memcpy(&word, p.from + i * p.bytes + at, 8);
      sum ^= word;
    }
    for (size_t i = 0; i < p.writes; ++i) std::memcpy(p.to + i * p.bytes + at, &sum, 8);
  }
  return sum;
}

uint64_t move_part(const Part& p, bool streaming) {
  if (!__builtin_cpu_supports("avx512f")) return move_plain(p);
  const bool aligned = (reinterpret_cast<uintptr_t>(p.to) | p.bytes) % kLine == 0;
  return move_wide(p, streaming && aligned);
}

}  // namespace

uint64_t move_bytes(const uint8_t* from, size_t read, uint8_t* to, size_t written, MoveWay way) {
  read = read / kLine * kLine;
  written = written / kLine * kLine;
  constexpr uint64_t kSeed = 0x9e3779b97f4a7c15;
  uint64_t value = 0;
  const size_t unit = std::min(read, written);
  if (way.together && unit > 0) {
    const Part both = {from, read / unit, to, written / unit, unit, kSeed};
    value = move_part(both, way.streaming);
    from += both.reads * unit;
    read %= unit;
    to += both.writes * unit;
    written %= unit;
  }
  // Some streams at once, which one core reads faster than a single one.
  constexpr size_t kStreams = 4;
  value ^= move_part({from, kStreams, to, 0, read / kStreams / kLine * kLine, kSeed}, false);
  value ^= move_part({from, 0, to, 1, written, kSeed}, way.streaming);
  _mm_sfence();
  return value;
}

}  // namespace limit
