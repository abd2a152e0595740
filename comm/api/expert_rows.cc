// tuttiEpDispatch and tuttiEpCombine: from tensors to rows.
#include <algorithm>

#include "comm/api/expert_start.h"
#include "comm/base/types.h"
#include "comm/expert/row_operation.h"

using tutti::Code;
using tutti::CombineCall;
using tutti::DataType;
using tutti::DispatchCall;
using tutti::Entry;
using tutti::error;
using tutti::ExpertHandle;
using tutti::ExpertLayout;
using tutti::ExpertReduce;
using tutti::report;
using tutti::RowArray;
using tutti::RowQuant;
using tutti::Status;
using tutti::TensorCheck;

namespace {

constexpr size_t kOpConfigBytes = sizeof(tuttiEpOpConfig_t);
constexpr std::initializer_list<tuttiDataType_t> kAnyType = {};
// What is summed, multiplied or quantised.
constexpr std::initializer_list<tuttiDataType_t> kFloats = {tuttiFloat32, tuttiBfloat16,
                                                            tuttiFloat16};

// The dimensions of what has a row for each row of a layout, `last` elements each.
std::vector<int64_t> dims_of_rows(const ExpertHandle& handle, const tuttiEpTensor_t& given,
                                  int64_t last) {
  const tutti::ExpertShape& shape = handle.shape();
  switch (shape.layout) {
    case ExpertLayout::kExpertSlab:
      return {static_cast<int64_t>(handle.tables.wanted.size()), shape.zone_rows, last};
    case ExpertLayout::kRankMajor:
      return {handle.group_of().placement().nranks(), shape.max_tokens, last};
    default:
      return {given.dim[0], last};  // as many as there are; how many are needed Prepare tells
  }
}

int64_t last_dim(const tuttiEpTensor_t& tensor) {
  return tensor.ndim > 0 && tensor.ndim <= 4 ? tensor.dim[tensor.ndim - 1] : 0;
}

RowArray array_of(const tuttiEpTensor_t& tensor, const TensorCheck& check) {
  RowArray a;
  a.data = tensor.data;
  a.dtype = static_cast<DataType>(tensor.dtype);
  a.rows = 1;
  for (int32_t i = 0; i + 1 < tensor.ndim; ++i) a.rows *= static_cast<uint64_t>(tensor.dim[i]);
  a.bytes = static_cast<size_t>(last_dim(tensor)) * tutti::size_of(a.dtype);
  a.stride = check.row_stride();
  return a;
}

bool is_given(const tuttiEpTensor_t& tensor) { return tensor.data != nullptr || tensor.ndim != 0; }

// Rows of `dims`; the type is one of `types`, or any.
Status read_array(const char* function, const char* name, const tuttiEpTensor_t& tensor,
                  std::initializer_list<tuttiDataType_t> types, const std::vector<int64_t>& dims,
                  RowArray* out) {
  if (static_cast<unsigned>(tensor.dtype) >= tutti::kNumDataTypes) {
    return error(Code::kInvalidArgument, "%s: %s: expected a type, got %d", function, name,
                 static_cast<int>(tensor.dtype));
  }
  TensorCheck check(function, name, tensor);
  if (types.size() > 0) check.types(types);
  TUTTI_TRY(check.dims(dims).status());
  *out = array_of(tensor, check);
  return Status();
}

// One f32 for each assignment, without gaps: [T, K], or as rows have them.
Status read_values(const char* function, const char* name, const tuttiEpTensor_t& tensor,
                   const std::vector<int64_t>& dims, RowArray* out) {
  if (!is_given(tensor)) return Status();
  TensorCheck check(function, name, tensor);
  TUTTI_TRY(check.types({tuttiFloat32}).dims(dims).status());
  const auto dense = static_cast<size_t>(last_dim(tensor)) * sizeof(float);
  if (tensor.ndim > 1 && check.row_stride() != dense) {
    return error(Code::kInvalidArgument, "%s: %s: expected rows without gaps, got a stride of %zu",
                 function, name, check.row_stride());
  }
  out->data = tensor.data;
  out->dtype = DataType::kFloat32;
  out->bytes = sizeof(float);
  out->stride = sizeof(float);
  out->rows = 1;
  for (const int64_t dim : dims) out->rows *= static_cast<uint64_t>(dim);
  return Status();
}

// The dimensions of row_weight and row_value.
std::vector<int64_t> dims_of_values(const ExpertHandle& handle, const tuttiEpTensor_t& given) {
  std::vector<int64_t> dims = dims_of_rows(handle, given, handle.shape().topk);
  if (tutti::is_by_expert(handle.shape().layout)) dims.pop_back();
  return dims;
}

Status both_or_none(const char* function, const char* names, const RowArray& a, const RowArray& b) {
  if ((a.bytes == 0) == (b.bytes == 0)) return Status();
  return error(Code::kInvalidArgument, "%s: %s: expected both or none, got one", function, names);
}

Status read_config(const char* function, const tuttiEpOpConfig_t* given, tuttiEpOpConfig_t* out) {
  *out = {};
  if (given == nullptr) return Status();
  TUTTI_TRY(tutti::read_struct(function, "config", given, kOpConfigBytes, out));
  if (out->zero_copy >= 0 && out->zero_copy <= 2) return Status();
  return error(Code::kInvalidArgument, "%s: zero_copy: expected 0 to 2, got %d", function,
               out->zero_copy);
}

// --- dispatch ---

constexpr char kDispatch[] = "tuttiEpDispatch";

Status read_quant(tuttiEpQuant_t quant, RowQuant* out) {
  switch (quant) {
    case TUTTI_EP_QUANT_NONE:
      *out = RowQuant::kNone;
      return Status();
    case TUTTI_EP_QUANT_FORWARD:
      *out = RowQuant::kForward;
      return Status();
    case TUTTI_EP_QUANT_FP8E4M3_B128:
      *out = RowQuant::kFp8Block128;
      return Status();
    case TUTTI_EP_QUANT_FP8E4M3_B128_POW2:
      *out = RowQuant::kFp8Block128Pow2;
      return Status();
    case TUTTI_EP_QUANT_INT8_TOKEN:
      *out = RowQuant::kInt8Token;
      return Status();
    default:
      return error(Code::kUnsupported, "%s: quant %d", kDispatch, static_cast<int>(quant));
  }
}

Status read_rows(const ExpertHandle& handle, const tuttiEpDispatchIn_t& in,
                 const tuttiEpDispatchOut_t& out, DispatchCall* call) {
  const int64_t hidden = last_dim(in.x);
  const std::vector<int64_t> tokens = {in.x.dim[0], hidden};
  const std::vector<int64_t> rows = dims_of_rows(handle, out.x, hidden);
  if (!tutti::is_computed(call->quant)) {
    TUTTI_TRY(read_array(kDispatch, "in.x", in.x, call->work.weighted ? kFloats : kAnyType, tokens,
                         &call->in));
    return read_array(kDispatch, "out.x", out.x, {in.x.dtype}, rows, &call->out);
  }
  TUTTI_TRY(read_array(kDispatch, "in.x", in.x, kFloats, tokens, &call->in));
  if (call->quant == RowQuant::kInt8Token) {
    return read_array(kDispatch, "out.x", out.x, {tuttiInt8}, rows, &call->out);
  }
  return read_array(kDispatch, "out.x", out.x, {tuttiFloat8e4m3, tuttiUint8}, rows, &call->out);
}

Status read_scales(const ExpertHandle& handle, const tuttiEpDispatchIn_t& in,
                   const tuttiEpDispatchOut_t& out, DispatchCall* call) {
  if (!call->work.scales) return Status();
  if (call->work.quantise) {
    const auto scales = static_cast<int64_t>(
        tutti::scales_per_row(call->quant, static_cast<size_t>(last_dim(in.x))));
    return read_array(kDispatch, "out.scale", out.scale, {tuttiFloat32},
                      dims_of_rows(handle, out.scale, scales), &call->out_scale);
  }
  const int64_t scales = last_dim(in.scale);
  TUTTI_TRY(
      read_array(kDispatch, "in.scale", in.scale, {}, {in.x.dim[0], scales}, &call->in_scale));
  return read_array(kDispatch, "out.scale", out.scale, {in.scale.dtype},
                    dims_of_rows(handle, out.scale, scales), &call->out_scale);
}

Status read_weighting(const ExpertHandle& handle, const tuttiEpOpConfig_t& config,
                      DispatchCall* call) {
  if (config.weight != TUTTI_EP_WEIGHT_APPLY) return Status();
  call->work.weighted = true;
  if (config.dir == TUTTI_EP_BWD && tutti::is_by_expert(handle.shape().layout) &&
      call->quant == RowQuant::kNone) {
    return Status();
  }
  return error(Code::kInvalidArgument,
               "%s: TUTTI_EP_WEIGHT_APPLY: expected TUTTI_EP_BWD, a layout by expert and "
               "TUTTI_EP_QUANT_NONE",
               kDispatch);
}

Status read_dispatch(const ExpertHandle& handle, const tuttiEpDispatchIn_t* given_in,
                     const tuttiEpDispatchOut_t* given_out, const tuttiEpOpConfig_t* given_config,
                     DispatchCall* call) {
  tuttiEpDispatchIn_t in;
  tuttiEpDispatchOut_t out;
  tuttiEpOpConfig_t config;
  TUTTI_TRY(tutti::read_struct(kDispatch, "in", given_in, sizeof(in), &in));
  TUTTI_TRY(tutti::read_struct(kDispatch, "out", given_out, sizeof(out), &out));
  TUTTI_TRY(read_config(kDispatch, given_config, &config));
  call->zero_copy = static_cast<tutti::ZeroCopy>(config.zero_copy);
  TUTTI_TRY(read_quant(config.quant, &call->quant));
  // First of all: which messages the others may expect of this rank, whatever is wrong with it.
  call->work.scales = call->quant != RowQuant::kNone;
  call->work.quantise = tutti::is_computed(call->quant);
  call->work.values = is_given(out.row_weight);
  TUTTI_TRY(read_weighting(handle, config, call));
  TUTTI_TRY(read_rows(handle, in, out, call));
  TUTTI_TRY(read_scales(handle, in, out, call));
  const auto topk = static_cast<int64_t>(handle.shape().topk);
  TUTTI_TRY(read_values(kDispatch, "in.weight", in.weight, {in.x.dim[0], topk}, &call->in_weight));
  TUTTI_TRY(read_values(kDispatch, "out.row_weight", out.row_weight,
                        dims_of_values(handle, out.row_weight), &call->out_weight));
  // With APPLY the weights may be there for that alone.
  if (call->work.weighted && call->out_weight.bytes == 0) call->in_weight = {};
  TUTTI_TRY(
      both_or_none(kDispatch, "in.weight and out.row_weight", call->in_weight, call->out_weight));
  call->work.values = call->out_weight.bytes > 0;
  // As they lie here, and as they travel: a short row can be longer with its scales.
  const size_t bytes =
      std::max(call->in.bytes + call->in_scale.bytes, call->out.bytes + call->out_scale.bytes);
  if (bytes <= handle.group_of().config().max_token_bytes) return Status();
  return error(Code::kInvalidArgument,
               "%s: expected rows of at most %llu bytes (max_token_bytes), got %zu", kDispatch,
               static_cast<unsigned long long>(handle.group_of().config().max_token_bytes), bytes);
}

// --- combine ---

constexpr char kCombine[] = "tuttiEpCombine";

ExpertReduce reduce_of(const ExpertHandle& handle, tuttiEpReduce_t given) {
  switch (given) {
    case TUTTI_EP_REDUCE_SLOT:
      return ExpertReduce::kSlot;
    case TUTTI_EP_REDUCE_RANK:
      return ExpertReduce::kRank;
    case TUTTI_EP_REDUCE_NODE:
      return ExpertReduce::kNode;
    default:
      return tutti::auto_reduce(handle.group_of().placement());
  }
}

Status read_reduce(const ExpertHandle& handle, const tuttiEpOpConfig_t& config, CombineCall* call) {
  if (config.reduce < TUTTI_EP_REDUCE_AUTO || config.reduce > TUTTI_EP_REDUCE_NODE) {
    return error(Code::kInvalidArgument, "%s: reduce: expected 0 to %d, got %d", kCombine,
                 TUTTI_EP_REDUCE_NODE, static_cast<int>(config.reduce));
  }
  call->work.weighted = config.weight == TUTTI_EP_WEIGHT_APPLY;
  if (call->work.weighted && !tutti::is_by_expert(handle.shape().layout)) {
    return error(Code::kInvalidArgument, "%s: TUTTI_EP_WEIGHT_APPLY: expected a layout by expert",
                 kCombine);
  }
  const bool given = config.partial == tuttiFloat32 || config.partial == tuttiBfloat16 ||
                     config.partial == tuttiFloat16;
  if (!given && config.partial != 0) {
    return error(Code::kInvalidArgument, "%s: partial: expected f32, bf16, f16 or 0, got %d",
                 kCombine, config.partial);
  }
  call->partial = given ? static_cast<DataType>(config.partial) : call->in.dtype;
  call->work.same_type = call->partial == call->in.dtype;
  return Status();
}

Status read_combine(const ExpertHandle& handle, const tuttiEpCombineIn_t* given_in,
                    const tuttiEpCombineOut_t* given_out, const tuttiEpOpConfig_t* given_config,
                    CombineCall* call) {
  tuttiEpCombineIn_t in;
  tuttiEpCombineOut_t out;
  tuttiEpOpConfig_t config;
  TUTTI_TRY(tutti::read_struct(kCombine, "in", given_in, sizeof(in), &in));
  TUTTI_TRY(tutti::read_struct(kCombine, "out", given_out, sizeof(out), &out));
  TUTTI_TRY(read_config(kCombine, given_config, &config));
  call->zero_copy = static_cast<tutti::ZeroCopy>(config.zero_copy);
  call->work.values = is_given(out.slot_value);
  call->work.reduce = reduce_of(handle, config.reduce);
  const int64_t hidden = last_dim(out.x);
  const int64_t tokens = out.x.dim[0];
  TUTTI_TRY(read_array(kCombine, "out.x", out.x, kFloats, {tokens, hidden}, &call->out));
  TUTTI_TRY(
      read_array(kCombine, "in.x", in.x, kFloats, dims_of_rows(handle, in.x, hidden), &call->in));
  for (const tuttiEpTensor_t& bias : in.bias) {
    if (!is_given(bias)) continue;
    TUTTI_TRY(read_array(kCombine, "in.bias", bias, {out.x.dtype}, {tokens, hidden},
                         &call->bias[call->work.num_biases++]));
  }
  TUTTI_TRY(read_reduce(handle, config, call));
  const auto topk = static_cast<int64_t>(handle.shape().topk);
  TUTTI_TRY(read_values(kCombine, "in.weight", in.weight, {tokens, topk}, &call->in_weight));
  TUTTI_TRY(read_values(kCombine, "in.row_value", in.row_value,
                        dims_of_values(handle, in.row_value), &call->in_value));
  TUTTI_TRY(
      read_values(kCombine, "out.slot_value", out.slot_value, {tokens, topk}, &call->out_value));
  TUTTI_TRY(
      both_or_none(kCombine, "in.row_value and out.slot_value", call->in_value, call->out_value));
  const uint64_t most = handle.group_of().config().max_token_bytes;
  const size_t partial = static_cast<size_t>(hidden) * tutti::size_of(call->partial);
  if (call->in.bytes <= most && partial <= 2 * most) return Status();
  return error(Code::kInvalidArgument,
               "%s: expected rows of at most %llu bytes (max_token_bytes), and partial sums of "
               "twice that, got %zu and %zu",
               kCombine, static_cast<unsigned long long>(most), call->in.bytes, partial);
}

// Read apart from all else: also of a call that is wrong otherwise.
bool is_send_only(const tuttiEpOpConfig_t* given) {
  tuttiEpOpConfig_t config;
  return given != nullptr &&
         tutti::read_struct("", "config", given, kOpConfigBytes, &config).ok() &&
         config.send_only != 0;
}

}  // namespace

tuttiResult_t tuttiEpDispatch(tuttiEpHandle_t handle, const tuttiEpDispatchIn_t* in,
                              const tuttiEpDispatchOut_t* out, const tuttiEpOpConfig_t* config,
                              tuttiStream_t stream) {
  const Status ok = tutti::check_handle(kDispatch, handle);
  if (!ok.ok()) return report(ok);
  const Entry entry(handle->group->comm, kDispatch);
  if (!entry.status().ok()) return report(entry.status());
  const tutti::ExpertStart how = {kDispatch, handle, stream, is_send_only(config),
                                  TUTTI_EP_OP_DISPATCH};
  const Status may = tutti::check_in_flight(how);
  if (!may.ok()) return report(may);
  DispatchCall call;
  call.own = read_dispatch(*handle->handle, in, out, config, &call);
  return report(tutti::start_expert(
      entry, how, std::make_unique<tutti::DispatchOperation>(*handle->handle, call)));
}

tuttiResult_t tuttiEpCombine(tuttiEpHandle_t handle, const tuttiEpCombineIn_t* in,
                             const tuttiEpCombineOut_t* out, const tuttiEpOpConfig_t* config,
                             tuttiStream_t stream) {
  const Status ok = tutti::check_handle(kCombine, handle);
  if (!ok.ok()) return report(ok);
  const Entry entry(handle->group->comm, kCombine);
  if (!entry.status().ok()) return report(entry.status());
  const tutti::ExpertStart how = {kCombine, handle, stream, is_send_only(config),
                                  TUTTI_EP_OP_COMBINE};
  const Status may = tutti::check_in_flight(how);
  if (!may.ok()) return report(may);
  CombineCall call;
  call.own = read_combine(*handle->handle, in, out, config, &call);
  return report(tutti::start_expert(
      entry, how, std::make_unique<tutti::CombineOperation>(*handle->handle, call)));
}
