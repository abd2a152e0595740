#include "bench/perf/tutti_expert.h"

#include <algorithm>

#include "bench/perf/expert_problem.h"
#include "bench/perf/tutti_rank.h"

namespace perf {

using tutti::Status;

namespace {

tuttiEpTensor_t tensor(const void* data, tuttiDataType_t dtype,
                       std::initializer_list<int64_t> dims) {
  tuttiEpTensor_t t = {};
  t.data = const_cast<void*>(data);
  t.dtype = dtype;
  for (const int64_t dim : dims) t.dim[t.ndim++] = dim;
  return t;
}

tuttiEpQuant_t quant_of(ExpertQuant quant) {
  switch (quant) {
    case ExpertQuant::kNone:
      return TUTTI_EP_QUANT_NONE;
    case ExpertQuant::kForward:
      return TUTTI_EP_QUANT_FORWARD;
    case ExpertQuant::kFp8Block128:
      return TUTTI_EP_QUANT_FP8E4M3_B128;
    case ExpertQuant::kInt8Token:
      return TUTTI_EP_QUANT_INT8_TOKEN;
  }
  return TUTTI_EP_QUANT_NONE;
}

tuttiDataType_t delivered_type(ExpertQuant quant) {
  if (quant == ExpertQuant::kNone) return tuttiBfloat16;
  return quant == ExpertQuant::kInt8Token ? tuttiInt8 : tuttiFloat8e4m3;
}

}  // namespace

TuttiExpert::TuttiExpert(tuttiComm_t comm, const Case& c) : comm_(comm), case_(c) {
  // Of a communicator that works, these two cannot fail.
  tuttiCommUserRank(comm, &rank_);
  tuttiCommCount(comm, &nranks_);
}

TuttiExpert::~TuttiExpert() {
  if (handle_ != nullptr) tuttiEpHandleDestroy(handle_);
  if (group_ != nullptr) tuttiEpGroupDestroy(group_);
}

Status TuttiExpert::create() {
  const ExpertShape& shape = case_.expert;
  tuttiEpGroupConfig_t config = {};
  config.hdr = TUTTI_EP_HDR(tuttiEpGroupConfig_t);
  config.num_experts = shape.experts;
  config.max_tokens_per_rank = shape.tokens;
  config.max_topk = shape.topk;
  config.max_token_bytes = static_cast<int64_t>(shape.hidden) * 2 + 64;
  config.ranks_per_node = shape.ranks_per_node;
  config.algo = static_cast<tuttiEpAlgo_t>(shape.algo);
  return status_of(tuttiEpGroupCreate(&group_, comm_, &config), comm_);
}

Status TuttiExpert::agree(const ExpertPlan& plan) {
  const ExpertShape& shape = case_.expert;
  tuttiEpHandleConfig_t config = {};
  config.hdr = TUTTI_EP_HDR(tuttiEpHandleConfig_t);
  config.layout = static_cast<tuttiEpLayout_t>(shape.layout);
  config.num_topk = shape.topk;
  if (shape.layout == ExpertLayout::kExpertSlab) {
    config.slab_rows = static_cast<int32_t>(plan.slab_rows());
  }
  TUTTI_TRY(status_of(tuttiEpHandleCreate(&handle_, group_, &config, nullptr), comm_));
  for (int t = 0; t < shape.tokens; ++t) {
    for (int k = 0; k < shape.topk; ++k) weights_.push_back(expert_weight(rank_, t, k));
  }
  const tuttiEpTensor_t ids = tensor(plan.ids_of(rank_), tuttiInt32, {shape.tokens, shape.topk});
  const tuttiEpTensor_t weights = tensor(weights_.data(), tuttiFloat32, {shape.tokens, shape.topk});
  TUTTI_TRY(status_of(
      tuttiEpPrepare(handle_, &ids, shape.backward ? &weights : nullptr, nullptr, nullptr), comm_));
  tuttiEpHandleInfo_t info = {};
  info.hdr = TUTTI_EP_HDR(tuttiEpHandleInfo_t);
  TUTTI_TRY(status_of(tuttiEpHandleGetInfo(handle_, &info), comm_));
  const bool packed =
      shape.layout == ExpertLayout::kFlat || shape.layout == ExpertLayout::kExpertMajor;
  if (!packed || info.recv_rows == static_cast<int64_t>(plan.room())) return {};
  return tutti::error(tutti::Code::kInternalError, "rank %d: expected %zu rows, Prepare says %lld",
                      rank_, plan.room(), static_cast<long long>(info.recv_rows));
}

tuttiEpTensor_t TuttiExpert::rows(const ExpertPlan& plan, void* data, tuttiDataType_t dtype,
                                  int64_t elements) const {
  switch (case_.expert.layout) {
    case ExpertLayout::kExpertSlab:
      return tensor(data, dtype,
                    {plan.local_experts(), static_cast<int64_t>(plan.slab_rows()), elements});
    case ExpertLayout::kRankMajor:
      return tensor(data, dtype, {nranks_, case_.expert.tokens, elements});
    default:
      return tensor(data, dtype, {static_cast<int64_t>(plan.room()), elements});
  }
}

void TuttiExpert::describe_dispatch(const ExpertPlan& plan, uint8_t* send, uint8_t* recv) {
  const ExpertShape& shape = case_.expert;
  const ExpertPlan::Places& p = plan.places();
  const bool forwards = shape.quant == ExpertQuant::kForward;
  dispatch_in_.hdr = TUTTI_EP_HDR(tuttiEpDispatchIn_t);
  dispatch_out_.hdr = TUTTI_EP_HDR(tuttiEpDispatchOut_t);
  dispatch_config_.hdr = TUTTI_EP_HDR(tuttiEpOpConfig_t);
  dispatch_in_.x =
      tensor(send + p.x, forwards ? tuttiFloat8e4m3 : tuttiBfloat16, {shape.tokens, shape.hidden});
  dispatch_out_.x = rows(plan, recv + p.rows, delivered_type(shape.quant), shape.hidden);
  const auto scales = static_cast<int64_t>(scale_bytes(shape) / sizeof(float));
  if (forwards) {
    dispatch_in_.scale = tensor(send + p.x_scale, tuttiFloat32, {shape.tokens, scales});
  }
  if (scales > 0) dispatch_out_.scale = rows(plan, recv + p.row_scale, tuttiFloat32, scales);
  dispatch_config_.quant = quant_of(shape.quant);
  if (!shape.backward) return;
  dispatch_config_.dir = TUTTI_EP_BWD;
  if (!is_by_expert(shape.layout)) return;
  dispatch_config_.weight = TUTTI_EP_WEIGHT_APPLY;
  dispatch_in_.weight = tensor(weights_.data(), tuttiFloat32, {shape.tokens, shape.topk});
}

void TuttiExpert::describe_combine(const ExpertPlan& plan, uint8_t* send, uint8_t* recv) {
  const ExpertShape& shape = case_.expert;
  const ExpertPlan::Places& p = plan.places();
  combine_in_.hdr = TUTTI_EP_HDR(tuttiEpCombineIn_t);
  combine_out_.hdr = TUTTI_EP_HDR(tuttiEpCombineOut_t);
  combine_config_.hdr = TUTTI_EP_HDR(tuttiEpOpConfig_t);
  combine_in_.x = rows(plan, send + p.expert_rows, tuttiBfloat16, shape.hidden);
  combine_out_.x = tensor(recv + p.y, tuttiBfloat16, {shape.tokens, shape.hidden});
  combine_config_.dir = shape.backward ? TUTTI_EP_BWD : TUTTI_EP_FWD;
  combine_config_.reduce =
      static_cast<tuttiEpReduce_t>(TUTTI_EP_REDUCE_SLOT + static_cast<int>(shape.reduce));
}

Status TuttiExpert::prepare(void* send_memory, void* recv_memory) {
  const ExpertPlan plan(case_, rank_, nranks_);
  TUTTI_TRY(create());
  TUTTI_TRY(agree(plan));
  describe_dispatch(plan, static_cast<uint8_t*>(send_memory), static_cast<uint8_t*>(recv_memory));
  describe_combine(plan, static_cast<uint8_t*>(send_memory), static_cast<uint8_t*>(recv_memory));
  // What follows is counted, and Prepare is not.
  tuttiEpStats_t stats = {};
  stats.hdr = TUTTI_EP_HDR(tuttiEpStats_t);
  return status_of(tuttiEpGetStats(group_, &stats, nullptr, nullptr, 1), comm_);
}

tuttiResult_t TuttiExpert::run() const {
  if (case_.collective != Collective::kExpertCombine) {
    const tuttiResult_t result =
        tuttiEpDispatch(handle_, &dispatch_in_, &dispatch_out_, &dispatch_config_, nullptr);
    if (result != tuttiSuccess || case_.collective == Collective::kExpertDispatch) return result;
  }
  return tuttiEpCombine(handle_, &combine_in_, &combine_out_, &combine_config_, nullptr);
}

std::optional<Sent> TuttiExpert::sent() const {
  tuttiEpStats_t stats = {};
  stats.hdr = TUTTI_EP_HDR(tuttiEpStats_t);
  if (tuttiEpGetStats(group_, &stats, nullptr, nullptr, 0) != tuttiSuccess) return std::nullopt;
  const uint64_t calls = std::max(stats.ops[0], stats.ops[1]);
  if (calls == 0) return std::nullopt;
  const auto each = [calls](uint64_t near, uint64_t far) {
    return Tiers{near / calls, far / calls};
  };
  return Sent{each(stats.payload_bytes[1], stats.payload_bytes[2]),
              each(stats.payload_bytes[1] + stats.meta_bytes[1],
                   stats.payload_bytes[2] + stats.meta_bytes[2])};
}

}  // namespace perf
