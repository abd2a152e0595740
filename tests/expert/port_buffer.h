// The calls of DeepEP's Buffer, each a few lines over tutti/expert.h: what somebody writes who
// ports a caller of it. Public headers only.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <vector>

#include "tutti/expert.h"

namespace port {

using Bf16 = uint16_t;

inline void check(tuttiResult_t result) {
  if (result == tuttiSuccess) return;
  std::fprintf(stderr, "%s\n", tuttiGetLastError(nullptr));
  std::exit(1);
}

template <typename T>
tuttiEpTensor_t tensor(const std::vector<T>& data, tuttiDataType_t type,
                       std::initializer_list<int64_t> dims) {
  tuttiEpTensor_t t = {};
  t.data = const_cast<T*>(data.data());
  t.dtype = type;
  for (const int64_t dim : dims) t.dim[t.ndim++] = dim;
  return t;
}

// What comes of get_dispatch_layout() and goes back into dispatch() and combine(), any number of
// times: theirs is a tuple of tensors, ours a handle.
struct Handle {
  tuttiEpHandle_t ep = nullptr;
  int64_t tokens = 0;                     // T
  int64_t rows = 0;                       // N
  std::vector<int32_t> tokens_of_rank;    // [R] that this rank receives
  std::vector<int32_t> tokens_of_expert;  // [L]
  std::vector<int32_t> recv_topk_idx;     // [N, K]: local experts, -1: elsewhere
};

class Buffer {
 public:
  Buffer(tuttiComm_t comm, int experts, int max_tokens, int topk, int64_t hidden)
      : max_tokens_(max_tokens), topk_(topk), hidden_(hidden) {
    check(tuttiCommCount(comm, &nranks_));
    local_ = experts / nranks_;
    tuttiEpGroupConfig_t config = {};
    config.hdr = TUTTI_EP_HDR(tuttiEpGroupConfig_t);
    config.num_experts = experts;
    config.max_tokens_per_rank = max_tokens;
    config.max_topk = topk;
    config.max_token_bytes = hidden * static_cast<int64_t>(sizeof(float));
    check(tuttiEpGroupCreate(&group_, comm, &config));
  }
  ~Buffer() { check(tuttiEpGroupDestroy(group_)); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  Handle get_dispatch_layout(const std::vector<int64_t>& topk_idx,
                             const std::vector<float>& topk_weights) {
    Handle h = create(TUTTI_EP_FLAT, topk_idx);
    const int64_t most = int64_t{nranks_} * max_tokens_;
    h.tokens_of_rank.resize(static_cast<size_t>(nranks_));
    h.recv_topk_idx.resize(static_cast<size_t>(most * topk_));
    tuttiEpLayoutInfo_t info = {};
    info.hdr = TUTTI_EP_HDR(tuttiEpLayoutInfo_t);
    info.src_count = tensor(h.tokens_of_rank, tuttiInt32, {nranks_});
    info.expert_count = tensor(h.tokens_of_expert, tuttiInt32, {local_});
    info.row_slot = tensor(h.recv_topk_idx, tuttiInt32, {most, topk_});
    prepare(&h, topk_idx, &topk_weights, info);
    h.recv_topk_idx.resize(static_cast<size_t>(h.rows * topk_));
    return h;
  }

  void dispatch(const Handle& h, const std::vector<Bf16>& x, const std::vector<float>& topk_weights,
                std::vector<Bf16>* recv_x, std::vector<float>* recv_topk_weights) {
    recv_x->resize(static_cast<size_t>(h.rows * hidden_));
    recv_topk_weights->resize(static_cast<size_t>(h.rows * topk_));
    tuttiEpDispatchIn_t in = {};
    in.hdr = TUTTI_EP_HDR(tuttiEpDispatchIn_t);
    in.x = tensor(x, tuttiBfloat16, {h.tokens, hidden_});
    in.weight = tensor(topk_weights, tuttiFloat32, {h.tokens, topk_});
    tuttiEpDispatchOut_t out = {};
    out.hdr = TUTTI_EP_HDR(tuttiEpDispatchOut_t);
    out.x = tensor(*recv_x, tuttiBfloat16, {h.rows, hidden_});
    out.row_weight = tensor(*recv_topk_weights, tuttiFloat32, {h.rows, topk_});
    check(tuttiEpDispatch(h.ep, &in, &out, nullptr, nullptr));
  }

  // A plain sum; weights are theirs who call, and ride back.
  void combine(const Handle& h, const std::vector<Bf16>& x, const std::vector<float>& topk_weights,
               const std::vector<Bf16>& bias, std::vector<Bf16>* combined_x,
               std::vector<float>* combined_topk_weights) {
    combined_x->resize(static_cast<size_t>(h.tokens * hidden_));
    combined_topk_weights->resize(static_cast<size_t>(h.tokens * topk_));
    tuttiEpCombineIn_t in = {};
    in.hdr = TUTTI_EP_HDR(tuttiEpCombineIn_t);
    in.x = tensor(x, tuttiBfloat16, {h.rows, hidden_});
    in.row_value = tensor(topk_weights, tuttiFloat32, {h.rows, topk_});
    in.bias[0] = tensor(bias, tuttiBfloat16, {h.tokens, hidden_});
    tuttiEpCombineOut_t out = {};
    out.hdr = TUTTI_EP_HDR(tuttiEpCombineOut_t);
    out.x = tensor(*combined_x, tuttiBfloat16, {h.tokens, hidden_});
    out.slot_value = tensor(*combined_topk_weights, tuttiFloat32, {h.tokens, topk_});
    check(tuttiEpCombine(h.ep, &in, &out, nullptr, nullptr));
  }

  // [L, R * maxT, H] and a scale for each 128 numbers; h->tokens_of_expert of each slab's rows hold
  // something. What is returned is their hook: here nothing is left to be received.
  std::function<void()> low_latency_dispatch(const std::vector<Bf16>& x,
                                             const std::vector<int64_t>& topk_idx, Handle* h,
                                             std::vector<uint8_t>* recv_x,
                                             std::vector<float>* recv_scales) {
    *h = create(TUTTI_EP_EXPERT_SLAB, topk_idx);
    tuttiEpLayoutInfo_t info = {};
    info.hdr = TUTTI_EP_HDR(tuttiEpLayoutInfo_t);
    info.expert_count = tensor(h->tokens_of_expert, tuttiInt32, {local_});
    prepare(h, topk_idx, nullptr, info);
    recv_x->resize(static_cast<size_t>(local_ * slab() * hidden_));
    recv_scales->resize(static_cast<size_t>(local_ * slab() * scales()));
    tuttiEpDispatchIn_t in = {};
    in.hdr = TUTTI_EP_HDR(tuttiEpDispatchIn_t);
    in.x = tensor(x, tuttiBfloat16, {h->tokens, hidden_});
    tuttiEpDispatchOut_t out = {};
    out.hdr = TUTTI_EP_HDR(tuttiEpDispatchOut_t);
    out.x = tensor(*recv_x, tuttiFloat8e4m3, {local_, slab(), hidden_});
    out.scale = tensor(*recv_scales, tuttiFloat32, {local_, slab(), scales()});
    tuttiEpOpConfig_t config = {};
    config.hdr = TUTTI_EP_HDR(tuttiEpOpConfig_t);
    config.quant = TUTTI_EP_QUANT_FP8E4M3_B128;
    check(tuttiEpDispatch(h->ep, &in, &out, &config, nullptr));
    return [] {};
  }

  // The weights are applied at the token, in one sum that is rounded once.
  void low_latency_combine(const Handle& h, const std::vector<Bf16>& x,
                           const std::vector<float>& topk_weights, std::vector<Bf16>* combined_x) {
    combined_x->resize(static_cast<size_t>(h.tokens * hidden_));
    tuttiEpCombineIn_t in = {};
    in.hdr = TUTTI_EP_HDR(tuttiEpCombineIn_t);
    in.x = tensor(x, tuttiBfloat16, {local_, slab(), hidden_});
    in.weight = tensor(topk_weights, tuttiFloat32, {h.tokens, topk_});
    tuttiEpCombineOut_t out = {};
    out.hdr = TUTTI_EP_HDR(tuttiEpCombineOut_t);
    out.x = tensor(*combined_x, tuttiBfloat16, {h.tokens, hidden_});
    tuttiEpOpConfig_t config = {};
    config.hdr = TUTTI_EP_HDR(tuttiEpOpConfig_t);
    config.weight = TUTTI_EP_WEIGHT_APPLY;
    config.reduce = TUTTI_EP_REDUCE_SLOT;
    check(tuttiEpCombine(h.ep, &in, &out, &config, nullptr));
  }

  int64_t slab() const { return int64_t{nranks_} * max_tokens_; }
  int64_t scales() const { return (hidden_ + 127) / 128; }
  int nranks() const { return nranks_; }
  int64_t local() const { return local_; }

 private:
  Handle create(tuttiEpLayout_t layout, const std::vector<int64_t>& topk_idx) const {
    Handle h;
    h.tokens = static_cast<int64_t>(topk_idx.size()) / topk_;
    h.tokens_of_expert.resize(static_cast<size_t>(local_));
    tuttiEpHandleConfig_t config = {};
    config.hdr = TUTTI_EP_HDR(tuttiEpHandleConfig_t);
    config.layout = layout;
    config.num_topk = topk_;
    check(tuttiEpHandleCreate(&h.ep, group_, &config, nullptr));
    return h;
  }

  void prepare(Handle* h, const std::vector<int64_t>& topk_idx,
               const std::vector<float>* topk_weights, const tuttiEpLayoutInfo_t& layout) const {
    const tuttiEpTensor_t ids = tensor(topk_idx, tuttiInt64, {h->tokens, topk_});
    tuttiEpTensor_t weights = {};
    if (topk_weights != nullptr) weights = tensor(*topk_weights, tuttiFloat32, {h->tokens, topk_});
    check(tuttiEpPrepare(h->ep, &ids, topk_weights != nullptr ? &weights : nullptr, &layout,
                         nullptr));
    tuttiEpHandleInfo_t info = {};
    info.hdr = TUTTI_EP_HDR(tuttiEpHandleInfo_t);
    check(tuttiEpHandleGetInfo(h->ep, &info));
    h->rows = info.recv_rows;
  }

  tuttiEpGroup_t group_ = nullptr;
  const int max_tokens_;
  const int topk_;
  const int64_t hidden_;
  int nranks_ = 0;
  int64_t local_ = 0;
};

}  // namespace port
