// Dispatch and Combine through a handle of one rank as maps from rows to rows: what properties are
// said in. Every call is collective over the group.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/expert/ep_calls.h"

namespace tutti {

// How rows move. The same on all ranks but for the last two.
struct RowMap {
  tuttiDataType_t dtype = tuttiFloat32;
  int64_t hidden = 1;
  bool weighted = false;  // times the weights given to Prepare; layouts by expert only
  tuttiEpReduce_t reduce = TUTTI_EP_REDUCE_SLOT;
  bool registered = false;  // rows in memory of the library
  uint8_t fill = 0;         // what is in the output before
};

// Any type, width, reduction and, where the layout has them, weights.
RowMap random_map(const oracle::Problem& p, oracle::Random& random);

class RowMaps {
 public:
  using Bytes = std::vector<uint8_t>;
  // All borrowed. `layout`: of this rank.
  RowMaps(const oracle::Problem& p, size_t rank, const oracle::RankLayout& layout,
          tuttiEpHandle_t handle)
      : p_(p), rank_(rank), layout_(layout), handle_(handle) {}

  int64_t tokens() const { return p_.ranks[rank_].tokens; }
  const oracle::RankLayout& layout() const { return layout_; }
  size_t rank() const { return rank_; }

  // [T][hidden] to [N][hidden].
  Bytes dispatch(const Bytes& x, const RowMap& map) const;
  // [N][hidden] to [T][hidden].
  Bytes combine(const Bytes& rows, const RowMap& map) const;
  // One number for each row to [T][K]; layouts by expert only.
  std::vector<float> slot_values(const std::vector<float>& row_values) const;

 private:
  tuttiEpTensor_t rows_tensor(const void* data, tuttiDataType_t dtype, int64_t last) const;

  const oracle::Problem& p_;
  size_t rank_;
  const oracle::RankLayout& layout_;
  tuttiEpHandle_t handle_;
};

}  // namespace tutti
