// What tests of kernels work on: arrays that notice writes past their ends, and bit patterns that
// break careless arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/base/types.h"

namespace tutti {

inline constexpr uint8_t kGuard = 0xA5;
inline constexpr size_t kGuardBytes = 64;

// An array at `misalignment` bytes past a cache line, with guard bytes around it.
class Array {
 public:
  Array(size_t bytes, size_t misalignment)
      : storage_(bytes + misalignment + 2 * kGuardBytes + 64, kGuard), bytes_(bytes) {
    auto address = reinterpret_cast<uintptr_t>(storage_.data()) + kGuardBytes;
    offset_ = kGuardBytes + (64 - address % 64) % 64 + misalignment;
  }
  uint8_t* data() { return storage_.data() + offset_; }
  const uint8_t* data() const { return storage_.data() + offset_; }
  bool guards_intact() const {
    for (size_t i = 0; i < storage_.size(); ++i) {
      const bool inside = i >= offset_ && i < offset_ + bytes_;
      if (!inside && storage_[i] != kGuard) return false;
    }
    return true;
  }

 private:
  std::vector<uint8_t> storage_;
  size_t bytes_;
  size_t offset_;
};

// Zeros of both signs, subnormals, 1, the largest, infinities and NaNs; or edges of integers.
inline std::vector<uint32_t> special_patterns(DataType dtype) {
  switch (dtype) {
    case DataType::kFloat16:
      return {0, 0x8000, 1, 0x8001, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFD01};
    case DataType::kBfloat16:
      return {0, 0x8000, 1, 0x8001, 0x3F80, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x7FC0, 0xFF81};
    case DataType::kFloat8e4m3:
      return {0, 0x80, 1, 0x81, 0x38, 0x7E, 0xFE, 0x7F, 0xFF};
    case DataType::kFloat8e5m2:
      return {0, 0x80, 1, 0x81, 0x3C, 0x7B, 0xFB, 0x7C, 0xFC, 0x7D, 0xFE};
    case DataType::kFloat32:
      return {0,          0x80000000, 1,          0x80000001, 0x3F800000, 0x7F7FFFFF,
              0x007FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFF800001, 0x80800000};
    default:
      return {0, 1, 2, 0xFF, 0x7F, 0x80};
  }
}

}  // namespace tutti
