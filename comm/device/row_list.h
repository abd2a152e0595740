// Which rows of an array a kernel works on: consecutive ones, or those that a list of indices
// names.
//
// A value that borrows everything it points to. Indices are not checked here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tutti {

// Byte: uint8_t, or const uint8_t. Row i begins at base + index(i) * stride; without a list
// index(i) is i. A row may be named more than once where it is read.
template <class Byte>
struct RowList {
  Byte* base;
  size_t stride;                    // bytes from one row of the array to the next
  const int32_t* list32 = nullptr;  // at most one of the two
  const int64_t* list64 = nullptr;

  Byte* operator[](size_t i) const {
    if (list32 != nullptr) return base + static_cast<size_t>(list32[i]) * stride;
    if (list64 != nullptr) return base + static_cast<size_t>(list64[i]) * stride;
    return base + i * stride;
  }
};

using SourceRows = RowList<const uint8_t>;
using TargetRows = RowList<uint8_t>;

}  // namespace tutti
