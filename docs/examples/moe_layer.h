// A Mixture-of-Experts layer of one rank, forward and backward: y[t] = the sum over k of
// w[t, k] * f(expert of (t, k), x[t]), where expert e makes (e + 1) * v * v of each number v.
#pragma once

#include <cstdint>
#include <vector>

#include "tutti/expert.h"
#include "tutti/tutti.hpp"

class MoeLayer {
 public:
  using Numbers = std::vector<float>;
  struct Gradients {
    Numbers x, weights;
  };

  // Experts lie in blocks: `experts` / R of them on each rank.
  MoeLayer(tuttiComm_t comm, int experts, int max_tokens, int topk, int64_t hidden)
      : topk_(topk), hidden_(hidden) {
    int nranks = 0;
    tutti::check(tuttiCommCount(comm, &nranks));
    tutti::check(tuttiCommUserRank(comm, &rank_));
    offset_.resize(experts / nranks + 1);
    auto group = made<tuttiEpGroupConfig_t>();
    group.num_experts = experts;
    group.max_tokens_per_rank = max_tokens;
    group.max_topk = topk;
    group.max_token_bytes = hidden * static_cast<int64_t>(sizeof(float));
    tutti::check(tuttiEpGroupCreate(&group_, comm, &group));
    auto routing = made<tuttiEpHandleConfig_t>();
    routing.layout = TUTTI_EP_EXPERT_MAJOR;
    routing.num_topk = topk;
    tutti::check(tuttiEpHandleCreate(&handle_, group_, &routing, nullptr));
  }
  ~MoeLayer() {
    tuttiEpHandleDestroy(handle_);
    tuttiEpGroupDestroy(group_);
  }
  MoeLayer(const MoeLayer&) = delete;
  MoeLayer& operator=(const MoeLayer&) = delete;

  // x [T, H], what the router says: ids and weights [T, K]. Returns y [T, H].
  Numbers forward(const Numbers& x, const std::vector<int32_t>& ids, const Numbers& weights) {
    tokens_ = static_cast<int64_t>(ids.size()) / topk_;
    const tuttiEpTensor_t topk_idx = tensor(ids.data(), tuttiInt32, {tokens_, topk_});
    const tuttiEpTensor_t topk_weight = tensor(weights.data(), tuttiFloat32, {tokens_, topk_});
    auto layout = made<tuttiEpLayoutInfo_t>();
    layout.expert_offset =
        tensor(offset_.data(), tuttiInt64, {static_cast<int64_t>(offset_.size())});
    tutti::check(tuttiEpPrepare(handle_, &topk_idx, &topk_weight, &layout, nullptr));
    rows_ = offset_.back();  // or recv_rows of tuttiEpHandleGetInfo

    in_ = dispatch(x, TUTTI_EP_WEIGHT_NONE);
    out_.resize(in_.size());
    each([&](float factor, size_t i) { out_[i] = factor * in_[i] * in_[i]; });
    Numbers y(x.size());
    combine(out_, TUTTI_EP_WEIGHT_APPLY, &y, nullptr, nullptr);
    return y;
  }

  // dy [T, H] is dL/dy; the routing is that of the last forward.
  Gradients backward(const Numbers& dy) {
    // dL/dw of a row is its dot product with its token's dy; dL/drow is dy times its weight.
    const Numbers plain = dispatch(dy, TUTTI_EP_WEIGHT_NONE);
    Numbers dots(rows_);
    each([&](float, size_t i) { dots[i / hidden_] += out_[i] * plain[i]; });
    Numbers grad = dispatch(dy, TUTTI_EP_WEIGHT_APPLY);
    each([&](float factor, size_t i) { grad[i] *= 2 * factor * in_[i]; });
    Gradients of = {Numbers(dy.size()), Numbers(tokens_ * topk_)};
    combine(grad, TUTTI_EP_WEIGHT_NONE, &of.x, &dots, &of.weights);
    return of;
  }

 private:
  // A struct of the library with all default.
  template <typename Struct>
  static Struct made() {
    Struct s = {};
    s.hdr = TUTTI_EP_HDR(Struct);
    return s;
  }

  static tuttiEpTensor_t tensor(const void* data, tuttiDataType_t type,
                                std::initializer_list<int64_t> dims) {
    tuttiEpTensor_t t = {};
    t.data = const_cast<void*>(data);
    t.dtype = type;
    for (const int64_t dim : dims) t.dim[t.ndim++] = dim;
    return t;
  }

  // For each number of the rows: visit(factor of its expert, its index).
  template <typename Visit>
  void each(Visit visit) const {
    const int64_t local = static_cast<int64_t>(offset_.size()) - 1;
    for (int64_t e = 0; e < local; ++e) {
      const auto factor = static_cast<float>(rank_ * local + e + 1);
      for (int64_t i = offset_[e] * hidden_; i < offset_[e + 1] * hidden_; ++i) visit(factor, i);
    }
  }

  // Rows of tokens to their experts; with APPLY times the weights of their assignments.
  Numbers dispatch(const Numbers& tokens, tuttiEpWeight_t weight) {
    Numbers rows(rows_ * hidden_);
    auto in = made<tuttiEpDispatchIn_t>();
    in.x = tensor(tokens.data(), tuttiFloat32, {tokens_, hidden_});
    auto out = made<tuttiEpDispatchOut_t>();
    out.x = tensor(rows.data(), tuttiFloat32, {rows_, hidden_});
    auto config = made<tuttiEpOpConfig_t>();
    config.dir = weight == TUTTI_EP_WEIGHT_APPLY ? TUTTI_EP_BWD : TUTTI_EP_FWD;
    config.weight = weight;
    tutti::check(tuttiEpDispatch(handle_, &in, &out, &config, nullptr));
    return rows;
  }

  // Their sums at the tokens, and, where wanted, one number of each row at its assignment.
  void combine(const Numbers& rows, tuttiEpWeight_t weight, Numbers* tokens,
               const Numbers* row_value, Numbers* slot_value) {
    auto in = made<tuttiEpCombineIn_t>();
    in.x = tensor(rows.data(), tuttiFloat32, {rows_, hidden_});
    auto out = made<tuttiEpCombineOut_t>();
    out.x = tensor(tokens->data(), tuttiFloat32, {tokens_, hidden_});
    if (row_value != nullptr) {
      in.row_value = tensor(row_value->data(), tuttiFloat32, {rows_});
      out.slot_value = tensor(slot_value->data(), tuttiFloat32, {tokens_, topk_});
    }
    auto config = made<tuttiEpOpConfig_t>();
    config.weight = weight;
    tutti::check(tuttiEpCombine(handle_, &in, &out, &config, nullptr));
  }

  const int topk_;
  const int64_t hidden_;
  int rank_ = 0;
  tuttiEpGroup_t group_ = nullptr;
  tuttiEpHandle_t handle_ = nullptr;
  std::vector<int64_t> offset_;  // first row of each local expert; the last is N
  int64_t tokens_ = 0;
  int64_t rows_ = 0;
  Numbers in_, out_;  // rows before and after the experts
};
