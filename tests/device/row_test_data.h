// Rows of floats for the tests of the kernels on rows, and a floating-point environment that they
// must not notice.
#pragma once

#include <cfenv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "comm/base/types.h"
#include "tests/device/test_arrays.h"
#include "tests/support/scalar_reference.h"

namespace tutti {

inline constexpr DataType kRowTypes[] = {DataType::kBfloat16, DataType::kFloat16,
                                         DataType::kFloat32};

inline float load_float(const uint8_t* row, size_t i, DataType dtype) {
  uint32_t bits = 0;
  std::memcpy(&bits, row + i * size_of(dtype), size_of(dtype));
  return reference_to_float(dtype, bits);
}

inline void store_float(uint8_t* row, size_t i, DataType dtype, float value) {
  const uint32_t bits = reference_from_float(dtype, value);
  std::memcpy(row + i * size_of(dtype), &bits, size_of(dtype));
}

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

enum class RowKind { kNormal, kWide, kTiny, kZero, kSpecial, kBits };
inline constexpr RowKind kRowKinds[] = {RowKind::kNormal, RowKind::kWide,    RowKind::kTiny,
                                        RowKind::kZero,   RowKind::kSpecial, RowKind::kBits};

// kNormal: activations. kWide: exponents from -20 to 15. kTiny: subnormals of the type, zeros of
// both signs. kZero: zeros of both signs. kSpecial: an infinity, NaN or extreme now and then.
// kBits: any.
inline uint32_t random_bits(RowKind kind, DataType dtype, std::mt19937_64& random) {
  const auto mantissa = static_cast<float>(static_cast<int64_t>(random() % 4097) - 2048) / 1024;
  const uint32_t sign = (random() & 1) << (8 * size_of(dtype) - 1);
  switch (kind) {
    case RowKind::kNormal:
      return reference_from_float(dtype, std::normal_distribution<float>()(random));
    case RowKind::kWide:
      return reference_from_float(dtype,
                                  std::ldexp(mantissa, static_cast<int>(random() % 36) - 20));
    case RowKind::kTiny:
      return sign | static_cast<uint32_t>(random() % 200);
    case RowKind::kZero:
      return sign;
    case RowKind::kSpecial:
      if (random() % 100 == 0) {
        const std::vector<uint32_t> specials = special_patterns(dtype);
        return specials[random() % specials.size()];
      }
      return reference_from_float(dtype, mantissa);
    case RowKind::kBits:
      return static_cast<uint32_t>(random());
  }
  return 0;
}

inline void fill_row(uint8_t* row, size_t n, DataType dtype, RowKind kind,
                     std::mt19937_64& random) {
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = random_bits(kind, dtype, random);
    std::memcpy(row + i * size_of(dtype), &bits, size_of(dtype));
  }
}

// Rounds toward zero and flushes subnormals while it lives; intact() when nobody changed that.
class HostileFpEnvironment {
 public:
  HostileFpEnvironment() {
    std::fegetenv(&saved_);
    std::fesetround(FE_TOWARDZERO);
#if defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
  }
  ~HostileFpEnvironment() { std::fesetenv(&saved_); }
  HostileFpEnvironment(const HostileFpEnvironment&) = delete;
  HostileFpEnvironment& operator=(const HostileFpEnvironment&) = delete;

  static bool intact() {
#if defined(__SSE2__)
    if ((_mm_getcsr() & 0x8040) != 0x8040) return false;
#endif
    return std::fegetround() == FE_TOWARDZERO;
  }

 private:
  std::fenv_t saved_;
};

}  // namespace tutti
