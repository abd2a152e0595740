// Area: one buffer of one rank, with guard bytes around it, and the check of what is in it.
//
// The memory is kept and grows as needed, so that thousands of cases do not pay for fresh pages.
// Thread: the rank's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/matrix/case.h"

namespace tutti {

// Bytes of an area that must hold known contents; all other bytes must be as reset() left them.
struct Content {
  size_t offset;
  size_t bytes;
  const uint8_t* expected;
  int block;  // of the result, or -1: input that must be unchanged
};

class Area {
 public:
  Area() = default;
  ~Area();
  Area(const Area&) = delete;
  Area& operator=(const Area&) = delete;

  // Makes room for `bytes` in memory of this kind (not kMixed), filled with poison.
  void reset(size_t bytes, Memory kind, size_t element_bytes);
  uint8_t* data() { return data_; }
  size_t size() const { return bytes_; }
  // The whole allocation, guards included.
  void* base() { return base_; }
  size_t base_bytes() const { return data_ - static_cast<uint8_t*>(base_) + bytes_ + kGuardBytes; }

  // What differs from `pieces`, poison and guards, or "". Elements are of `element_bytes`.
  std::string difference(const std::vector<Content>& pieces, size_t element_bytes) const;

 private:
  static constexpr size_t kGuardBytes = 256;
  struct Store {
    void* memory = nullptr;
    size_t bytes = 0;
  };
  Store* store_for(size_t bytes, bool shared);

  Store plain_;
  Store shared_;
  void* base_ = nullptr;
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace tutti
