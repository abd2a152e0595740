// tuttiEpPrepare and what it has found out.
#include <algorithm>

#include "comm/api/expert_start.h"
#include "comm/expert/expert_schedule.h"
#include "comm/expert/prepare.h"

using tutti::Code;
using tutti::CountTensor;
using tutti::Entry;
using tutti::error;
using tutti::ExpertHandle;
using tutti::PrepareCall;
using tutti::report;
using tutti::Status;
using tutti::TensorCheck;

namespace {

constexpr char kPrepare[] = "tuttiEpPrepare";
constexpr size_t kInfoBytes = sizeof(tuttiEpLayoutInfo_t);
constexpr size_t kHandleInfoBytes = sizeof(tuttiEpHandleInfo_t);

Status read_ids(const ExpertHandle& handle, const tuttiEpTensor_t* given, PrepareCall* call) {
  if (given == nullptr) {
    return error(Code::kInvalidArgument, "%s: topk_idx is NULL", kPrepare);
  }
  const auto topk = static_cast<int64_t>(handle.shape().topk);
  const int64_t tokens = given->ndim == 2 ? given->dim[0] : 0;
  if (tokens < 0 || tokens > handle.shape().max_tokens) {
    return error(Code::kInvalidArgument,
                 "%s: topk_idx: expected at most %u tokens (max_tokens_per_rank), got %lld",
                 kPrepare, handle.shape().max_tokens, static_cast<long long>(tokens));
  }
  TensorCheck check(kPrepare, "topk_idx", *given);
  TUTTI_TRY(check.types({tuttiInt32, tuttiInt64}).dims({tokens, topk}).status());
  call->ids = {given->data, given->dtype == tuttiInt64, check.row_stride(),
               static_cast<uint32_t>(tokens), handle.shape().topk};
  return Status();
}

Status read_weights(const ExpertHandle& handle, const tuttiEpTensor_t* given, PrepareCall* call) {
  const tutti::ExpertShape& shape = handle.shape();
  const bool is_none =
      given == nullptr || (given->data == nullptr && (call->ids.tokens > 0 || given->ndim == 0));
  if (is_none) {
    if (shape.cap == tutti::ExpertCap::kExpertPerSource &&
        shape.keep == tutti::ExpertKeep::kWeight && call->ids.tokens > 0) {
      return error(Code::kInvalidArgument,
                   "%s: topk_weight: expected weights for TUTTI_EP_KEEP_WEIGHT, got NULL",
                   kPrepare);
    }
    return Status();
  }
  TensorCheck check(kPrepare, "topk_weight", *given);
  TUTTI_TRY(check.types({tuttiFloat32}).dims({call->ids.tokens, shape.topk}).status());
  // Where no rank has tokens, each by itself has weights or none.
  static const float kNone = 0;
  call->weights = given->data != nullptr ? given->data : &kNone;
  call->weight_stride = check.row_stride();
  return Status();
}

Status read_counts(const char* name, const tuttiEpTensor_t& given, int64_t elements,
                   CountTensor* out) {
  TensorCheck check(kPrepare, name, given);
  if (!check.given()) return Status();
  TUTTI_TRY(check.types({tuttiInt32, tuttiInt64}).dims({elements}).status());
  *out = {given.data, given.dtype == tuttiInt64};
  return Status();
}

Status read_rows(const ExpertHandle& handle, int nranks, const tuttiEpLayoutInfo_t& info,
                 PrepareCall* call) {
  const bool by_expert = tutti::is_by_expert(handle.shape().layout);
  const auto topk = static_cast<int64_t>(handle.shape().topk);
  TensorCheck src(kPrepare, "row_src", info.row_src);
  TensorCheck slot(kPrepare, "row_slot", info.row_slot);
  if (src.given()) {
    const int64_t room = info.row_src.dim[0];
    TUTTI_TRY(src.types({tuttiInt64}).dims({room}).status());
    call->row_src = static_cast<int64_t*>(info.row_src.data);
    call->row_room = static_cast<uint64_t>(room);
  }
  if (slot.given()) {
    const int64_t room = info.row_slot.dim[0];
    slot.types({tuttiInt32});
    TUTTI_TRY((by_expert ? slot.dims({room}) : slot.dims({room, topk})).status());
    if (!by_expert && slot.row_stride() != static_cast<size_t>(topk) * sizeof(int32_t)) {
      return error(Code::kInvalidArgument,
                   "%s: row_slot: expected rows without gaps, got a stride of %zu", kPrepare,
                   slot.row_stride());
    }
    call->row_slot = static_cast<int32_t*>(info.row_slot.data);
    call->row_room = std::min(call->row_room, static_cast<uint64_t>(room));
  }
  const tutti::ExpertShape& shape = handle.shape();
  const bool fixed = shape.layout == tutti::ExpertLayout::kExpertSlab ||
                     shape.layout == tutti::ExpertLayout::kRankMajor;
  const uint64_t rows = fixed ? tutti::rows_needed(shape, nranks, handle.tables.rows.count, 0) : 0;
  if (rows <= call->row_room) return Status();
  return error(Code::kInvalidArgument,
               "%s: row_src, row_slot: expected room for %llu rows, got %llu", kPrepare,
               static_cast<unsigned long long>(rows),
               static_cast<unsigned long long>(call->row_room));
}

Status read_info(const ExpertHandle& handle, int nranks, const tuttiEpLayoutInfo_t* given,
                 PrepareCall* call) {
  if (given == nullptr) return Status();
  tuttiEpLayoutInfo_t info;
  TUTTI_TRY(tutti::read_struct(kPrepare, "info", given, kInfoBytes, &info));
  const auto local = static_cast<int64_t>(handle.tables.wanted.size());
  TUTTI_TRY(read_counts("expert_count", info.expert_count, local, &call->expert_count));
  TUTTI_TRY(read_counts("src_count", info.src_count, nranks, &call->src_count));
  TensorCheck offset(kPrepare, "expert_offset", info.expert_offset);
  if (offset.given()) {
    TUTTI_TRY(offset.types({tuttiInt64}).dims({local + 1}).status());
    call->expert_offset = static_cast<int64_t*>(info.expert_offset.data);
  }
  TensorCheck want(kPrepare, "want_count", info.want_count);
  if (want.given()) {
    TUTTI_TRY(want.types({tuttiInt64}).dims({local}).status());
    call->want_count = static_cast<int64_t*>(info.want_count.data);
  }
  TensorCheck keep(kPrepare, "keep", info.keep);
  if (keep.given()) {
    TUTTI_TRY(
        keep.types({tuttiUint8, tuttiBool}).dims({call->ids.tokens, handle.shape().topk}).status());
    call->keep = static_cast<uint8_t*>(info.keep.data);
    call->keep_stride = keep.row_stride();
  }
  return read_rows(handle, nranks, info, call);
}

// What is wrong with the arguments of this rank is for the others to know, so it goes along.
PrepareCall read_call(const ExpertHandle& handle, int nranks, const tuttiEpTensor_t* ids,
                      const tuttiEpTensor_t* weights, const tuttiEpLayoutInfo_t* info) {
  PrepareCall call;
  call.own = read_ids(handle, ids, &call);
  if (call.own.ok()) call.own = read_weights(handle, weights, &call);
  if (call.own.ok()) call.own = read_info(handle, nranks, info, &call);
  return call;
}

tuttiEpAlgo_t name_of(tutti::ExpertAlgo algo) {
  switch (algo) {
    case tutti::ExpertAlgo::kHier:
      return TUTTI_EP_ALGO_HIER;
    case tutti::ExpertAlgo::kAllGather:
      return TUTTI_EP_ALGO_ALLGATHER;
    default:
      return TUTTI_EP_ALGO_DIRECT;
  }
}

}  // namespace

tuttiResult_t tuttiEpPrepare(tuttiEpHandle_t handle, const tuttiEpTensor_t* topk_idx,
                             const tuttiEpTensor_t* topk_weight, const tuttiEpLayoutInfo_t* info,
                             tuttiStream_t stream) {
  const Status ok = tutti::check_handle(kPrepare, handle);
  if (!ok.ok()) return report(ok);
  const Entry entry(handle->group->comm, kPrepare);
  if (!entry.status().ok()) return report(entry.status());
  ExpertHandle& inner = *handle->handle;
  Status may = tutti::check_unused(kPrepare, handle);
  const tutti::ExpertStart how = {kPrepare, handle, stream};
  if (may.ok()) may = tutti::check_in_flight(how);
  if (!may.ok()) return report(may);
  auto operation = std::make_unique<tutti::PrepareOperation>(
      inner, read_call(inner, entry.comm().nranks(), topk_idx, topk_weight, info));
  return report(tutti::start_expert(entry, how, std::move(operation)));
}

tuttiResult_t tuttiEpHandleGetInfo(tuttiEpHandle_t handle, tuttiEpHandleInfo_t* info) {
  const char* const function = "tuttiEpHandleGetInfo";
  Status status = tutti::check_handle(function, handle);
  if (status.ok()) status = tutti::check_struct(function, "info", info, kHandleInfoBytes);
  if (!status.ok()) return report(status);
  const Entry entry(handle->group->comm, function);
  if (!entry.status().ok()) return report(entry.status());
  ExpertHandle& inner = *handle->handle;
  if (inner.preparing() > 0 && tutti::thread_state().group_depth > 0) {
    return report(error(Code::kInvalidUsage,
                        "%s: Prepare of the handle may wait for tuttiGroupEnd, and this for it",
                        function));
  }
  if (inner.preparing() > 0) {
    status = entry.comm().wait_for([&] { return inner.preparing() == 0; });
  }
  if (!status.ok()) return report(status);
  info->recv_rows = static_cast<int64_t>(inner.rows_needed);
  info->recv_tokens = inner.prepared ? inner.tables.arrivals.rows : 0;
  info->num_tokens = inner.tokens;
  info->dropped = static_cast<int64_t>(inner.dropped);
  info->algo = name_of(handle->group->group->config().algo);
  const bool by_node =
      tutti::auto_reduce(inner.group_of().placement()) == tutti::ExpertReduce::kNode;
  info->reduce_auto = by_node ? TUTTI_EP_REDUCE_NODE : TUTTI_EP_REDUCE_RANK;
  info->mask_epoch = inner.mask_epoch;
  return tuttiSuccess;
}
