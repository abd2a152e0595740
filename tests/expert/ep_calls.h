// The C API of expert groups as the tests call it: structs with their headers, tensors over
// vectors, and an oracle's problem as a caller would put it.
#pragma once

#include <cstdint>
#include <vector>

#include "tutti/expert.h"

#include "tests/expert/oracle.h"

namespace tutti {

template <typename T>
constexpr tuttiDataType_t ep_type() {
  if constexpr (std::is_same_v<T, int32_t>) return tuttiInt32;
  if constexpr (std::is_same_v<T, int64_t>) return tuttiInt64;
  if constexpr (std::is_same_v<T, uint8_t>) return tuttiUint8;
  if constexpr (std::is_same_v<T, float>) return tuttiFloat32;
}

inline tuttiEpTensor_t ep_tensor(const void* data, tuttiDataType_t dtype,
                                 std::initializer_list<int64_t> dims) {
  tuttiEpTensor_t t = {};
  t.data = const_cast<void*>(data);
  t.dtype = dtype;
  for (const int64_t dim : dims) t.dim[t.ndim++] = dim;
  return t;
}

template <typename T>
tuttiEpTensor_t ep_tensor(const std::vector<T>& values, std::initializer_list<int64_t> dims) {
  return ep_tensor(values.data(), ep_type<T>(), dims);
}

inline tuttiEpGroupConfig_t ep_group_config(const oracle::Problem& p) {
  tuttiEpGroupConfig_t c = {};
  c.hdr = TUTTI_EP_HDR(tuttiEpGroupConfig_t);
  c.num_experts = p.num_experts;
  c.max_tokens_per_rank = static_cast<int32_t>(p.max_tokens);
  c.max_topk = p.topk;
  c.max_token_bytes = 1 << 16;
  c.expert_rank = p.expert_rank.empty() ? nullptr : p.expert_rank.data();
  c.num_logical = p.num_logical;
  c.phys_to_log = p.num_logical > 0 ? p.phys_to_log.data() : nullptr;
  c.replica = static_cast<tuttiEpReplica_t>(p.replica);
  c.ranks_per_node = p.ranks_per_node > 0 ? p.ranks_per_node : p.nranks();
  return c;
}

inline tuttiEpHandleConfig_t ep_handle_config(const oracle::Problem& p) {
  tuttiEpHandleConfig_t c = {};
  c.hdr = TUTTI_EP_HDR(tuttiEpHandleConfig_t);
  c.layout = static_cast<tuttiEpLayout_t>(p.layout);
  c.num_topk = p.topk;
  c.alignment = p.alignment;
  c.cap = static_cast<tuttiEpCapMode_t>(p.capacity_mode);
  c.capacity = static_cast<int32_t>(p.capacity);
  c.keep = static_cast<tuttiEpKeep_t>(p.keep);
  c.pad_to_capacity = p.pad_to_capacity ? 1 : 0;
  c.max_recv_rows = p.max_recv_rows;
  c.slab_rows = static_cast<int32_t>(oracle::zone_capacity(p));
  return c;
}

// A tensor with a row for each row of the layout; `rows` of them where the layout does not say. A
// masked rank has none, though its layout has a shape: no data lie anywhere.
inline tuttiEpTensor_t ep_rows(const oracle::Problem& p, int64_t local, const void* data,
                               tuttiDataType_t dtype, int64_t rows, int64_t last) {
  static const uint8_t kNowhere = 0;
  if (data == nullptr) data = &kNowhere;
  if (p.layout == oracle::Layout::kExpertSlab) {
    return ep_tensor(data, dtype, {local, oracle::zone_capacity(p), last});
  }
  if (p.layout == oracle::Layout::kRankMajor) {
    return ep_tensor(data, dtype, {p.nranks(), p.max_tokens, last});
  }
  return ep_tensor(data, dtype, {rows, last});
}

// One f32 for each row of layouts by expert; else K, 0 where not local.
inline tuttiEpTensor_t ep_values(const oracle::Problem& p, int64_t local,
                                 const std::vector<float>& data, int64_t rows) {
  tuttiEpTensor_t t = ep_rows(p, local, data.data(), tuttiFloat32, rows, p.topk);
  if (p.has_expert_rows()) --t.ndim;
  return t;
}

// A handle of a group of one rank, for as long as it lives.
class EpRank {
 public:
  EpRank(tuttiComm_t comm, const oracle::Problem& p, tuttiEpAlgo_t algo = TUTTI_EP_ALGO_AUTO)
      : problem(p) {
    int value = 0;
    tuttiCommUserRank(comm, &value);
    rank = static_cast<size_t>(value);
    tuttiEpGroupConfig_t group_config = ep_group_config(p);
    group_config.algo = algo;
    created = tuttiEpGroupCreate(&group, comm, &group_config);
    if (created != tuttiSuccess) return;
    // Each masked rank is proposed by another one.
    for (int r = 0; r < p.nranks(); ++r) {
      if (p.is_masked(r) && value == (r + 1) % p.nranks()) tuttiEpMaskSet(group, r, 1);
    }
    const tuttiEpHandleConfig_t handle_config = ep_handle_config(p);
    created = tuttiEpHandleCreate(&handle, group, &handle_config, nullptr);
  }
  ~EpRank() {
    tuttiEpHandleDestroy(handle);
    tuttiEpGroupDestroy(group);
  }
  EpRank(const EpRank&) = delete;
  EpRank& operator=(const EpRank&) = delete;

  const oracle::RankInput& input() const { return problem.ranks[rank]; }
  tuttiResult_t prepare(const tuttiEpLayoutInfo_t* info = nullptr) const {
    const tuttiEpTensor_t ids = ep_tensor(input().ids, {input().tokens, problem.topk});
    const tuttiEpTensor_t weights = ep_tensor(input().weights, {input().tokens, problem.topk});
    return tuttiEpPrepare(handle, &ids, &weights, info, nullptr);
  }
  tuttiEpHandleInfo_t info() const {
    tuttiEpHandleInfo_t out = {};
    out.hdr = TUTTI_EP_HDR(tuttiEpHandleInfo_t);
    tuttiEpHandleGetInfo(handle, &out);
    return out;
  }

  const oracle::Problem& problem;
  size_t rank = 0;
  tuttiResult_t created = tuttiSuccess;
  tuttiEpGroup_t group = nullptr;
  tuttiEpHandle_t handle = nullptr;
};

}  // namespace tutti
