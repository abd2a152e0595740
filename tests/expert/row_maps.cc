#include "tests/expert/row_maps.h"

#include <cstring>
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/rows_cases.h"

namespace tutti {
namespace {

using Bytes = RowMaps::Bytes;

// A copy of `bytes` that an operation reads or writes.
class Lent {
 public:
  Lent(const Bytes& bytes, bool registered) : own_(bytes) {
    if (!registered) return;
    EXPECT_TRUE(returns(tuttiSuccess, tuttiMemAlloc(&mapped_, bytes.size() + 1)));
    if (!bytes.empty()) std::memcpy(mapped_, bytes.data(), bytes.size());
  }
  ~Lent() { EXPECT_TRUE(returns(tuttiSuccess, tuttiMemFree(mapped_))); }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;
  void* data() { return mapped_ != nullptr ? mapped_ : own_.data(); }
  Bytes bytes() {
    if (mapped_ != nullptr && !own_.empty()) std::memcpy(own_.data(), mapped_, own_.size());
    return own_;
  }

 private:
  Bytes own_;
  void* mapped_ = nullptr;
};

size_t bytes_of_rows(int64_t rows, const RowMap& map) {
  return static_cast<size_t>(rows * map.hidden) * oracle::bytes_of(map.dtype);
}

}  // namespace

RowMap random_map(const oracle::Problem& p, oracle::Random& random) {
  const tuttiDataType_t types[] = {tuttiBfloat16, tuttiFloat16, tuttiFloat32};
  const int64_t widths[] = {1, 2, 33, 256, 3000};
  RowMap map;
  map.dtype = types[random.below(3)];
  map.hidden = widths[random.below(5)];
  map.weighted = random.one_in(2) && p.has_expert_rows();
  map.reduce = random.one_in(2) ? TUTTI_EP_REDUCE_SLOT : TUTTI_EP_REDUCE_RANK;
  return map;
}

tuttiEpTensor_t RowMaps::rows_tensor(const void* data, tuttiDataType_t dtype, int64_t last) const {
  const auto local = static_cast<int64_t>(layout_.expert_count.size());
  return ep_rows(p_, local, data, dtype, layout_.rows, last);
}

Bytes RowMaps::dispatch(const Bytes& x, const RowMap& map) const {
  Lent in(x, map.registered);
  Lent out(Bytes(bytes_of_rows(layout_.rows, map), map.fill), map.registered);
  EpDispatch op;
  op.config.dir = map.weighted ? TUTTI_EP_BWD : TUTTI_EP_FWD;
  op.config.weight = map.weighted ? TUTTI_EP_WEIGHT_APPLY : TUTTI_EP_WEIGHT_NONE;
  op.in.x = ep_tensor(in.data(), map.dtype, {tokens(), map.hidden});
  op.out.x = rows_tensor(out.data(), map.dtype, map.hidden);
  EXPECT_TRUE(returns(tuttiSuccess, op.run(handle_)));
  return out.bytes();
}

Bytes RowMaps::combine(const Bytes& rows, const RowMap& map) const {
  Lent in(rows, map.registered);
  Lent out(Bytes(bytes_of_rows(tokens(), map), map.fill), map.registered);
  EpCombine op;
  op.config.weight = map.weighted ? TUTTI_EP_WEIGHT_APPLY : TUTTI_EP_WEIGHT_NONE;
  op.config.reduce = map.reduce;
  op.in.x = rows_tensor(in.data(), map.dtype, map.hidden);
  op.out.x = ep_tensor(out.data(), map.dtype, {tokens(), map.hidden});
  EXPECT_TRUE(returns(tuttiSuccess, op.run(handle_)));
  return out.bytes();
}

std::vector<float> RowMaps::slot_values(const std::vector<float>& row_values) const {
  const std::vector<float> rows(row_values.size());
  const std::vector<float> y(static_cast<size_t>(tokens()));
  std::vector<float> values(static_cast<size_t>(tokens() * p_.topk), -7);
  EpCombine op;
  op.in.x = rows_tensor(rows.data(), tuttiFloat32, 1);
  op.in.row_value = rows_tensor(row_values.data(), tuttiFloat32, 1);
  --op.in.row_value.ndim;
  op.out.x = ep_tensor(y, {tokens(), 1});
  op.out.slot_value = ep_tensor(values, {tokens(), p_.topk});
  EXPECT_TRUE(returns(tuttiSuccess, op.run(handle_)));
  return values;
}

}  // namespace tutti
