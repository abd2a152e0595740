#include "bench/limit.h"

#include <cstdint>
#include <immintrin.h>

namespace limit {

namespace {

__attribute__((target("avx512f"))) void reduce_avx512(const float* a, const float* b, float* out_a,
                                                      float* out_b, size_t count, bool streaming) {
  size_t i = 0;
  if (streaming) {
    for (; i + 16 <= count; i += 16) {
      const __m512 sum = _mm512_add_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i));
      _mm512_stream_ps(out_a + i, sum);
      _mm512_stream_ps(out_b + i, sum);
    }
    _mm_sfence();
  } else {
    for (; i + 16 <= count; i += 16) {
      const __m512 sum = _mm512_add_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i));
      _mm512_storeu_ps(out_a + i, sum);
      _mm512_storeu_ps(out_b + i, sum);
    }
  }
  for (; i < count; ++i) out_a[i] = out_b[i] = a[i] + b[i];
}

__attribute__((target_clones("avx2", "default"))) void reduce_plain(const float* a, const float* b,
                                                                    float* out_a, float* out_b,
                                                                    size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const float sum = a[i] + b[i];
    out_a[i] = sum;
    out_b[i] = sum;
  }
}

}  // namespace

void reduce_direct(const float* a, const float* b, float* out_a, float* out_b, size_t count,
                   bool streaming) {
  const bool aligned =
      ((reinterpret_cast<uintptr_t>(out_a) | reinterpret_cast<uintptr_t>(out_b)) & 63) == 0;
  if (__builtin_cpu_supports("avx512f")) {
    reduce_avx512(a, b, out_a, out_b, count, streaming && aligned);
  } else {
    reduce_plain(a, b, out_a, out_b, count);
  }
}

}  // namespace limit
