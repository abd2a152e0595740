#include "comm/expert/group.h"

#include <algorithm>
#include <utility>

#include "comm/expert/arrivals.h"
#include "comm/expert/carver.h"
#include "comm/expert/entries.h"
#include "comm/expert/expert_schedule.h"
#include "comm/expert/group_agreement.h"
#include "comm/expert/handle.h"

namespace tutti {

namespace {

// What a rank may tell of its tokens: assignments, and which ranks of other nodes need a token.
size_t most_routed_bytes(const ExpertGroupConfig& config, int nranks) {
  const size_t assignments = size_t{config.max_tokens} * config.max_topk;
  const size_t rows =
      config.max_tokens * std::min<size_t>(config.max_topk, static_cast<size_t>(nranks));
  return routed_bytes(assignments, true) +
         rows * mate_words(nranks, config.placement.ranks_per_node) * sizeof(uint32_t);
}

PrepareMemory carve(Carver& carver, const ExpertGroupConfig& config, int nranks) {
  const auto n = static_cast<size_t>(nranks);
  const uint32_t experts = config.placement.num_experts;
  const size_t piece = ExpertCounts::bytes(experts, nranks);
  const size_t assignments = size_t{config.max_tokens} * config.max_topk;
  const size_t words = experts * sizeof(uint32_t);  // how many were wanted, before them
  PrepareMemory m = {};
  m.mine = carver.take<std::byte>(piece);
  m.all = carver.take<std::byte>(piece * n);
  const size_t routed = most_routed_bytes(config, nranks) + words;
  m.routed_out = carver.take<std::byte>(routed);
  m.routed_in = carver.take<std::byte>(routed * n);
  m.used = carver.take<uint32_t>(std::max<size_t>(experts, n));
  m.wanted = carver.take<uint32_t>(experts);
  m.order = carver.take<uint32_t>(assignments);
  return m;
}

// About a megabyte of rows: what the nearest shared cache holds twice, and what makes the cost of a
// message small.
constexpr uint64_t kSliceBytes = uint64_t{1} << 20;
constexpr uint64_t kMostSlice = 256;

uint32_t slice_of(const ExpertGroupConfig& config) {
  const uint64_t rows = kSliceBytes / std::max<uint64_t>(config.max_token_bytes, 1);
  return static_cast<uint32_t>(std::clamp<uint64_t>(rows, 1, kMostSlice));
}

// Partial sums in f32 may take twice the bytes of the rows they are made of.
ExpertGroup::ScratchMemory carve_scratch(Carver& carver, const ExpertGroupConfig& config,
                                         int nranks) {
  const uint32_t slice = slice_of(config);
  const uint64_t combine = std::max(
      {combine_scratch_rows(nranks, slice, 1), node_combine_scratch_rows(nranks, slice),
       combine_scratch_rows(nranks, std::max(1u, slice / config.max_topk), config.max_topk)});
  const size_t combine_bytes = combine * 2 * config.max_token_bytes;
  const size_t quantised = config.max_tokens * config.max_token_bytes + Carver::kAlignment;
  const size_t assignments = size_t{config.max_tokens} * config.max_topk;
  ExpertGroup::ScratchMemory m = {};
  m.rows = carver.take<std::byte>(std::max(combine_bytes, quantised));
  m.values = carver.take<std::byte>(assignments * static_cast<size_t>(nranks) * sizeof(float));
  return m;
}

}  // namespace

uint32_t ExpertGroup::slice() const { return slice_of(config_); }

size_t ExpertGroup::memory_bytes(const ExpertGroupConfig& config, int nranks) {
  Carver carver(nullptr);
  carve(carver, config, nranks);
  carve_scratch(carver, config, nranks);
  return carver.bytes();
}

Status ExpertGroup::set_up() {
  Result<Placement> placement = Placement::make(config_.placement);
  if (!placement.ok()) return placement.status();
  placement_ = std::move(placement.value());
  stats_.make_room(comm_.nranks(), placement_.num_experts());
  return allocate();
}

Result<std::unique_ptr<ExpertGroup>> ExpertGroup::create(Communicator& comm, uint32_t number,
                                                         const ExpertGroupConfig& config,
                                                         const Status& own) {
  std::unique_ptr<ExpertGroup> group(new ExpertGroup(comm, number, config));
  const Status well = own.ok() ? group->set_up() : own;
  Agreement agreement(*group, "creation of an expert group",
                      {{"num_experts", config.placement.num_experts},
                       {"max_tokens_per_rank", config.max_tokens},
                       {"max_topk", config.max_topk},
                       {"max_token_bytes", config.max_token_bytes},
                       {"max_inflight", config.max_inflight},
                       {"ranks_per_node", static_cast<uint64_t>(config.placement.ranks_per_node)},
                       {"algo", static_cast<uint64_t>(config.algo)},
                       {"placement of experts", well.ok() ? group->placement_.hash() : 0}},
                      well);
  comm.enqueue(group->order(), &agreement);
  TUTTI_TRY(comm.wait(agreement));
  return group;
}

Result<Placement> ExpertGroup::other_placement(const int32_t* expert_rank,
                                               const int32_t* phys_to_log) const {
  PlacementConfig config = config_.placement;
  config.expert_rank = expert_rank;
  config.phys_to_log = phys_to_log;
  return Placement::make(config);
}

void ExpertGroup::adopt(Placement placement) {
  MutexLock lock(comm_.drive_mutex());
  placement_ = std::move(placement);
  std::fill(stats_.expert_rows.begin(), stats_.expert_rows.end(), 0);
  for (ExpertHandle* handle : handles_) handle->forget();
}

GroupFailures::Failure ExpertGroup::async_error() {
  const GroupFailures::Failure refused = failures_.take();
  if (refused.code != Code::kOk) return refused;
  const Status ended = comm_.error();
  if (ended.ok()) return {};
  return {ended.code(), comm_.culprit()};
}

void ExpertGroup::remove(ExpertHandle* handle) { std::erase(handles_, handle); }

Status ExpertGroup::allocate() {
  const size_t bytes = memory_bytes(config_, comm_.nranks());
  if (config_.alloc != nullptr) {
    memory_ = config_.alloc(bytes, config_.context);
    if (memory_ == nullptr) {
      return error(Code::kOutOfMemory, "expert group: alloc gave no memory for %zu bytes", bytes);
    }
  } else {
    Result<void*> made = comm_.transport().alloc(bytes);
    if (!made.ok()) return made.status();
    memory_ = made.value();
  }
  Carver carver(memory_);
  prepare_ = carve(carver, config_, comm_.nranks());
  scratch_ = carve_scratch(carver, config_, comm_.nranks());
  return Status();
}

ExpertGroup::~ExpertGroup() {
  if (memory_ == nullptr) return;
  if (config_.alloc == nullptr) {
    comm_.transport().free(memory_);
  } else if (config_.release != nullptr) {
    config_.release(memory_, config_.context);
  }
}

}  // namespace tutti
