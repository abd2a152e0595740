// Area: bytes of a test in memory of the library, which peers can read, or in ordinary memory, off
// any line.
#pragma once

#include <cstdint>
#include <cstring>
#include <gtest/gtest.h>
#include <vector>

#include "tutti/tutti.h"

namespace tutti {

class Area {
 public:
  using Bytes = std::vector<uint8_t>;
  Area(const Bytes& bytes, bool registered) : size_(bytes.size()), ordinary_(kOff + bytes.size()) {
    if (registered) {
      EXPECT_EQ(tuttiMemAlloc(&mapped_, kOff + size_), tuttiSuccess);
    }
    if (size_ > 0) std::memcpy(data(), bytes.data(), size_);
  }
  ~Area() { EXPECT_EQ(tuttiMemFree(mapped_), tuttiSuccess); }
  Area(const Area&) = delete;
  Area& operator=(const Area&) = delete;
  uint8_t* data() const {
    return mapped_ != nullptr ? static_cast<uint8_t*>(mapped_)
                              : const_cast<uint8_t*>(ordinary_.data()) + kOff;
  }
  bool holds(const Bytes& bytes) const {
    return bytes.size() == size_ && (size_ == 0 || std::memcmp(data(), bytes.data(), size_) == 0);
  }

 private:
  static constexpr size_t kOff = 3;
  const size_t size_;
  Bytes ordinary_;
  void* mapped_ = nullptr;
};

}  // namespace tutti
