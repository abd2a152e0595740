// Expert groups and handles: creation, sizes, end.
#include <algorithm>
#include <bit>

#include "comm/api/expert_state.h"
#include "comm/api/request.h"

using tutti::Code;
using tutti::Entry;
using tutti::error;
using tutti::ExpertGroup;
using tutti::ExpertGroupConfig;
using tutti::ExpertHandle;
using tutti::ExpertShape;
using tutti::report;
using tutti::Result;
using tutti::Status;

namespace {

// Up to what the first version of the header had.
constexpr size_t kGroupConfigBytes = sizeof(tuttiEpGroupConfig_t);
constexpr size_t kHandleConfigBytes = sizeof(tuttiEpHandleConfig_t);
constexpr int64_t kMostTokens = int64_t{1} << 24;
constexpr int64_t kMostTokenBytes = int64_t{1} << 24;

Status out_of_range(const char* function, const char* field, int64_t low, int64_t high,
                    int64_t got) {
  return error(Code::kInvalidArgument, "%s: %s: expected %lld to %lld, got %lld", function, field,
               static_cast<long long>(low), static_cast<long long>(high),
               static_cast<long long>(got));
}

struct Range {
  const char* field;
  int64_t low, high, got;
};

Status check_ranges(const char* function, std::initializer_list<Range> ranges) {
  for (const Range& r : ranges) {
    if (r.got < r.low || r.got > r.high) {
      return out_of_range(function, r.field, r.low, r.high, r.got);
    }
  }
  return Status();
}

// Never a function of the data, so that all ranks find the same.
tutti::ExpertAlgo algo_of(tuttiEpAlgo_t given, int num_nodes) {
  switch (given) {
    case TUTTI_EP_ALGO_DIRECT:
      return tutti::ExpertAlgo::kDirect;
    case TUTTI_EP_ALGO_HIER:
      return tutti::ExpertAlgo::kHier;
    case TUTTI_EP_ALGO_ALLGATHER:
      return tutti::ExpertAlgo::kAllGather;
    default:
      return num_nodes > 1 ? tutti::ExpertAlgo::kHier : tutti::ExpertAlgo::kDirect;
  }
}

// `nranks` ranks, `local` of them on each node where the config does not say.
Status read_config(const char* function, const tuttiEpGroupConfig_t* given, int nranks, int local,
                   ExpertGroupConfig* out) {
  tuttiEpGroupConfig_t c;
  TUTTI_TRY(tutti::read_struct(function, "config", given, kGroupConfigBytes, &c));
  TUTTI_TRY(check_ranges(function,
                         {{"num_experts", 1, tutti::kMostExperts - 1, c.num_experts},
                          {"max_tokens_per_rank", 0, kMostTokens, c.max_tokens_per_rank},
                          {"max_topk", 1, tutti::kMostTopk, c.max_topk},
                          {"max_token_bytes", 0, kMostTokenBytes, c.max_token_bytes},
                          {"max_inflight", 0, 64, c.max_inflight},
                          {"num_logical", 0, c.num_experts, c.num_logical},
                          {"replica", 0, TUTTI_EP_REPLICA_NEAREST, static_cast<int64_t>(c.replica)},
                          {"ranks_per_node", 0, INT_MAX, c.ranks_per_node},
                          {"algo", 0, TUTTI_EP_ALGO_ALLGATHER, static_cast<int64_t>(c.algo)},
                          {"fault", 0, TUTTI_EP_FAULT_MASK, static_cast<int64_t>(c.fault)}}));
  if (c.algo == TUTTI_EP_ALGO_ALLGATHER) {
    return error(Code::kUnsupported, "%s: TUTTI_EP_ALGO_ALLGATHER is not there yet", function);
  }
  if (c.max_inflight == 1) return out_of_range(function, "max_inflight", 2, 64, 1);
  if (c.num_logical > 0 && c.phys_to_log == nullptr) {
    return error(Code::kInvalidArgument, "%s: phys_to_log is NULL and num_logical is %d", function,
                 c.num_logical);
  }
  if (c.fault == TUTTI_EP_FAULT_MASK) {
    return error(Code::kUnsupported,
                 "%s: TUTTI_EP_FAULT_MASK is not there yet: a peer that fails ends the "
                 "communicator; tuttiEpMaskSet leaves out ranks that still call",
                 function);
  }
  out->placement.nranks = nranks;
  out->placement.ranks_per_node = c.ranks_per_node > 0 ? c.ranks_per_node : std::max(local, 1);
  out->algo = algo_of(c.algo, (nranks - 1) / out->placement.ranks_per_node + 1);
  out->placement.num_experts = static_cast<uint32_t>(c.num_experts);
  out->placement.expert_rank = c.expert_rank;
  out->placement.num_logical = static_cast<uint32_t>(c.num_logical);
  out->placement.phys_to_log = c.phys_to_log;
  out->placement.replica = static_cast<tutti::ExpertReplica>(c.replica);
  out->max_tokens = static_cast<uint32_t>(c.max_tokens_per_rank);
  out->max_topk = static_cast<uint32_t>(c.max_topk);
  out->max_token_bytes = static_cast<uint64_t>(c.max_token_bytes);
  out->max_inflight = c.max_inflight > 0 ? static_cast<uint32_t>(c.max_inflight) : 2;
  out->alloc = c.alloc;
  out->release = c.release;
  out->context = c.alloc_ctx;
  return Status();
}

uint32_t zone_rows_of(const tuttiEpHandleConfig_t& c, const ExpertGroup& group) {
  const auto nranks = static_cast<int64_t>(group.placement().nranks());
  int64_t rows = c.slab_rows;
  if (rows == 0) {
    rows = c.cap == TUTTI_EP_CAP_EXPERT_PER_SOURCE ? nranks * c.capacity : c.capacity;
    const bool counts = c.cap == TUTTI_EP_CAP_NONE || c.cap == TUTTI_EP_CAP_RANK;
    if (counts && rows == 0) rows = nranks * group.config().max_tokens;
  }
  return static_cast<uint32_t>(std::min<int64_t>(rows, INT32_MAX));
}

Status read_shape(const char* function, const ExpertGroup& group,
                  const tuttiEpHandleConfig_t* given, ExpertShape* out) {
  tuttiEpHandleConfig_t c;
  TUTTI_TRY(tutti::read_struct(function, "config", given, kHandleConfigBytes, &c));
  TUTTI_TRY(
      check_ranges(function, {{"layout", 0, TUTTI_EP_RANK_MAJOR, static_cast<int64_t>(c.layout)},
                              {"num_topk", 1, group.config().max_topk, c.num_topk},
                              {"alignment", 0, 1 << 20, c.alignment},
                              {"cap", 0, TUTTI_EP_CAP_EXPERT_GLOBAL, static_cast<int64_t>(c.cap)},
                              {"capacity", 0, INT32_MAX, c.capacity},
                              {"keep", 0, TUTTI_EP_KEEP_WEIGHT, static_cast<int64_t>(c.keep)},
                              {"pad_to_capacity", 0, 1, c.pad_to_capacity},
                              {"max_recv_rows", 0, INT64_MAX, c.max_recv_rows},
                              {"slab_rows", 0, INT32_MAX, c.slab_rows}}));
  if (!std::has_single_bit(static_cast<uint32_t>(std::max(c.alignment, 1)))) {
    return error(Code::kInvalidArgument, "%s: alignment: expected a power of two, got %d", function,
                 c.alignment);
  }
  out->layout = static_cast<tutti::ExpertLayout>(c.layout);
  out->cap = static_cast<tutti::ExpertCap>(c.cap);
  out->keep = static_cast<tutti::ExpertKeep>(c.keep);
  out->pad_to_capacity = c.pad_to_capacity != 0;
  out->topk = static_cast<uint32_t>(c.num_topk);
  out->alignment = static_cast<uint32_t>(std::max(c.alignment, 1));
  out->capacity = static_cast<uint32_t>(c.capacity);
  out->zone_rows = zone_rows_of(c, group);
  out->max_tokens = group.config().max_tokens;
  out->max_recv_rows = static_cast<uint64_t>(c.max_recv_rows);
  return Status();
}

}  // namespace

tuttiResult_t tuttiEpGetVersion(int* version) {
  if (version == nullptr) {
    return report(error(Code::kInvalidArgument, "tuttiEpGetVersion: version is NULL"));
  }
  *version = 1;
  return tuttiSuccess;
}

tuttiResult_t tuttiEpGroupMemory(const tuttiEpGroupConfig_t* config, int nranks, size_t* bytes) {
  ExpertGroupConfig read;
  Status status = read_config("tuttiEpGroupMemory", config, nranks, nranks, &read);
  if (status.ok() && (nranks < 1 || bytes == nullptr)) {
    status = error(Code::kInvalidArgument,
                   "tuttiEpGroupMemory: expected at least 1 rank and a place for bytes, got %d "
                   "and %p",
                   nranks, static_cast<void*>(bytes));
  }
  if (!status.ok()) return report(status);
  *bytes = ExpertGroup::memory_bytes(read, nranks);
  return tuttiSuccess;
}

tuttiResult_t tuttiEpGroupCreate(tuttiEpGroup_t* group, tuttiComm_t comm,
                                 const tuttiEpGroupConfig_t* config) {
  const char* const function = "tuttiEpGroupCreate";
  const Entry entry(comm, function);
  if (!entry.status().ok()) return report(entry.status());
  if (group == nullptr) {
    return report(error(Code::kInvalidArgument, "%s: group is NULL", function));
  }
  *group = nullptr;
  const Status outside = tutti::check_no_group(function);
  if (!outside.ok()) return report(outside);
  return tutti::with_memory(function, [&] {
    ExpertGroupConfig read;
    const Status own = read_config(function, config, entry.comm().nranks(),
                                   entry.comm().parts().host.ranks, &read);
    Result<std::unique_ptr<ExpertGroup>> made =
        ExpertGroup::create(entry.comm(), entry.handle().expert_groups_made++, read, own);
    if (!made.ok()) return report(made.status());
    auto shell = std::make_unique<tuttiEpGroup>();
    shell->comm = comm;
    shell->group = std::move(made.value());
    ++entry.handle().expert_groups;
    *group = shell.release();
    return tuttiSuccess;
  });
}

tuttiResult_t tuttiEpGroupDestroy(tuttiEpGroup_t group) {
  if (group == nullptr) return tuttiSuccess;
  const char* const function = "tuttiEpGroupDestroy";
  const Status ok = tutti::check_group(function, group);
  if (!ok.ok()) return report(ok);
  const Entry entry(group->comm, function, true);
  if (!entry.status().ok()) return report(entry.status());
  if (group->handles > 0) {
    return report(error(Code::kInvalidUsage, "%s: expected a group without handles, got %d",
                        function, group->handles));
  }
  const Status unused = tutti::check_unused(function, *group->group);
  if (!unused.ok()) return report(unused);
  --entry.handle().expert_groups;
  group->state = 0;
  delete group;
  return tuttiSuccess;
}

tuttiResult_t tuttiEpHandleMemSize(tuttiEpGroup_t group, const tuttiEpHandleConfig_t* config,
                                   size_t* bytes) {
  const char* const function = "tuttiEpHandleMemSize";
  Status status = tutti::check_group(function, group);
  if (status.ok() && bytes == nullptr) {
    status = error(Code::kInvalidArgument, "%s: bytes is NULL", function);
  }
  ExpertShape shape;
  if (status.ok()) status = read_shape(function, *group->group, config, &shape);
  if (!status.ok()) return report(status);
  *bytes = ExpertHandle::memory_bytes(*group->group, shape);
  return tuttiSuccess;
}

tuttiResult_t tuttiEpHandleCreate(tuttiEpHandle_t* handle, tuttiEpGroup_t group,
                                  const tuttiEpHandleConfig_t* config, void* memory) {
  const char* const function = "tuttiEpHandleCreate";
  Status status = tutti::check_group(function, group);
  if (status.ok() && handle == nullptr) {
    status = error(Code::kInvalidArgument, "%s: handle is NULL", function);
  }
  if (!status.ok()) return report(status);
  *handle = nullptr;
  ExpertShape shape;
  status = read_shape(function, *group->group, config, &shape);
  if (status.ok() && reinterpret_cast<uintptr_t>(memory) % 64 != 0) {
    status = error(Code::kInvalidArgument, "%s: memory: expected a multiple of 64, got %p",
                   function, memory);
  }
  if (!status.ok()) return report(status);
  return tutti::with_memory(function, [&] {
    auto shell = std::make_unique<tuttiEpHandle>();
    shell->group = group;
    shell->handle = std::make_unique<ExpertHandle>(*group->group, shape, memory);
    ++group->handles;
    *handle = shell.release();
    return tuttiSuccess;
  });
}

tuttiResult_t tuttiEpHandleDestroy(tuttiEpHandle_t handle) {
  if (handle == nullptr) return tuttiSuccess;
  const char* const function = "tuttiEpHandleDestroy";
  const Status ok = tutti::check_handle(function, handle);
  if (!ok.ok()) return report(ok);
  const Status unused = tutti::check_unused(function, handle);
  if (!unused.ok()) return report(unused);
  --handle->group->handles;
  handle->state = 0;
  delete handle;
  return tuttiSuccess;
}
