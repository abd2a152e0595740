// Size arithmetic that reports overflow. Every product of a caller's count goes through here before
// it becomes a length. On overflow *result holds the wrapped value and must not be used.
#pragma once

#include <cstddef>

namespace tutti {

// True and *result = a * b, or false on overflow.
[[nodiscard]] inline bool checked_mul(size_t a, size_t b, size_t* result) {
  return !__builtin_mul_overflow(a, b, result);
}

// True and *result = a + b, or false on overflow.
[[nodiscard]] inline bool checked_add(size_t a, size_t b, size_t* result) {
  return !__builtin_add_overflow(a, b, result);
}

}  // namespace tutti
