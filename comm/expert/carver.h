// Carver: cuts one block of memory into arrays. Run over nullptr it tells how much that takes, so
// that size and places come from the same lines of code. A value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tutti {

class Carver {
 public:
  static constexpr size_t kAlignment = 64;
  explicit Carver(void* base) : base_(static_cast<std::byte*>(base)) {}

  template <typename T>
  T* take(size_t count) {
    std::byte* const at = base_ == nullptr ? nullptr : base_ + bytes_;
    bytes_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<T*>(at);
  }
  template <typename T>
  std::span<T> array(size_t count) {
    return {take<T>(count), base_ == nullptr ? 0 : count};
  }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* base_;
  size_t bytes_ = 0;
};

}  // namespace tutti
