// RowLayout: how the rows of a schedule of rows lie in the buffers of one call (what DataLayout is
// for chunks). Value type.
#pragma once

#include <array>
#include <cstddef>

#include "comm/base/types.h"
#include "comm/device/row_quantise.h"
#include "comm/schedule/step.h"

namespace tutti {

// Row i of a buffer begins `i * stride` bytes after its start.
struct RowFormat {
  size_t bytes = 0;                   // of a row; what a message carries of it
  size_t stride = 0;                  // from one row to the next, >= bytes
  DataType dtype = DataType::kUint8;  // where rows are summed or quantised
  bool operator==(const RowFormat&) const = default;
};

struct RowLayout {
  std::array<RowFormat, kNumBuffers> formats = {};
  RowQuant quant = RowQuant::kNone;  // what kQuantise steps compute

  const RowFormat& operator[](Buffer buffer) const { return formats[static_cast<size_t>(buffer)]; }
  RowFormat& operator[](Buffer buffer) { return formats[static_cast<size_t>(buffer)]; }
  bool operator==(const RowLayout&) const = default;
};

}  // namespace tutti
