// WorldRows: what a World has besides when its schedules are of rows. Cells are the rows of all
// buffers of a rank; a place is a list of them, so WorldOperand::cell and WorldMessage::cell number
// places instead of cells.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/schedule/rows.h"
#include "comm/schedule/step.h"
#include "comm/verify/row_contract.h"

namespace tutti {

struct WorldRows {
  // Cells of one rank: rows [base, base + count) of each buffer.
  struct Layout {
    std::array<uint32_t, kNumBuffers> base{}, count{};
  };
  std::vector<Layout> layouts;       // per rank
  Rows all;                          // indices: cells; sets: places; programs and terms in range
  std::vector<uint32_t> program_of;  // per step of the world; a send has none
  const RowContract* contract = nullptr;

  bool empty() const { return layouts.empty(); }
  std::span<const uint32_t> cells(uint32_t place) const { return all.of(place); }
  void clear() {
    layouts.clear();
    all.clear();
    program_of.clear();
    contract = nullptr;
  }
};

// Buffers of one role have rows of one size.
enum class RowRole : uint8_t { kMain, kSide, kValue };
inline const char* name_of(RowRole role) {
  return role == RowRole::kMain ? "main rows" : role == RowRole::kSide ? "side rows" : "value rows";
}
inline RowRole role_of(Buffer buffer) {
  switch (buffer) {
    case Buffer::kInputSide:
    case Buffer::kOutputSide:
    case Buffer::kScratchSide:
      return RowRole::kSide;
    case Buffer::kInputValue:
    case Buffer::kOutputValue:
    case Buffer::kScratchValue:
      return RowRole::kValue;
    default:
      return RowRole::kMain;
  }
}

}  // namespace tutti
