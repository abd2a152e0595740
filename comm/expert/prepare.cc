#include "comm/expert/prepare.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/base/hash.h"

namespace tutti {

PrepareOperation::PrepareOperation(ExpertHandle& handle, PrepareCall call)
    : handle_(handle),
      use_(handle, true),
      call_(std::move(call)),
      proposed_(handle.group().masks().proposed().masked),
      exchange_(handle.group().comm(), handle.group().channels()) {}

std::string PrepareOperation::describe() const {
  return "expert prepare of " + std::to_string(call_.ids.tokens) + " tokens (call " +
         std::to_string(sequence_) + " of its group)";
}

ExpertCounts PrepareOperation::mine() const {
  const Placement& placement = handle_.group().placement();
  return {handle_.group().prepare_memory().mine, placement.num_experts(), placement.nranks()};
}

AllCounts PrepareOperation::all() const {
  const Placement& placement = handle_.group().placement();
  return {handle_.group().prepare_memory().all, placement.num_experts(), placement.nranks()};
}

// Of each exchange: what the others must be at, too.
OpHeader PrepareOperation::header() {
  return comm().header(sequence_, hash_combine(0x70726570, static_cast<uint64_t>(stage_)));
}

Status PrepareOperation::begin() {
  sequence_ = handle_.group().next_sequence();
  handle_.prepared = false;
  handle_.routing = sequence_;
  ExpertMasks::View masks = handle_.group().masks().agreed();
  masked_ = std::move(masks.masked);
  handle_.mask_epoch = masks.epoch;
  route();
  return gather();
}

void PrepareOperation::let_go() {
  waits_.stop(&stats());
  if (begun && result.code() == Code::kTimeout) ++stats().timeouts;
  if (ticket && !outcome_.ok()) handle_.group().failures().note({outcome_.code(), culprit_});
  use_.end();
}

void PrepareOperation::route() {
  ExpertHandle::Tables& t = handle_.tables;
  const ExpertShape& shape = handle_.shape();
  const PrepareMemory& memory = handle_.group().prepare_memory();
  const Placement& placement = handle_.group().placement();
  const size_t own = call_.own.ok() ? size_t{call_.ids.tokens} * shape.topk : 0;
  handle_.tokens = call_.own.ok() ? call_.ids.tokens : 0;
  handle_.weighted = call_.weights != nullptr;
  handle_.dropped = 0;
  for (uint32_t r = 0; r < handle_.tokens && handle_.weighted; ++r) {
    std::memcpy(t.weights.data() + size_t{r} * shape.topk,
                static_cast<const char*>(call_.weights) + r * call_.weight_stride,
                shape.topk * sizeof(float));
  }
  const std::span<int32_t> experts = t.experts.first(own);
  own_ = call_.own;
  if (own_.ok() && !is_left_out()) {
    own_ = resolve_experts(call_.ids, placement, comm().rank(), masked_, experts);
  }
  if (!own_.ok() || is_left_out()) std::fill(experts.begin(), experts.end(), kNoExpert);
  count();
  const std::span<uint32_t> counts = mine().assignments();
  std::copy(counts.begin(), counts.end(), memory.wanted);
  if (shape.cap == ExpertCap::kExpertPerSource && !is_left_out()) {
    handle_.dropped =
        drop_per_source(shape.capacity, shape.keep, t.weights.first(own), {memory.order, own},
                        {memory.used, placement.num_experts()}, experts);
    count();
  }
  ExpertHeader header = header_of(shape, handle_.tokens, handle_.weighted, own_.code());
  header.most_rows = std::min(header.most_rows, call_.row_room);
  header.mask_epoch = handle_.mask_epoch;
  mine().header() = header;
  const std::span<uint8_t> masked = mine().masked();
  std::fill(masked.begin(), masked.end(), 0);
  std::copy(proposed_.begin(), proposed_.end(), masked.begin());
}

void PrepareOperation::count() {
  const size_t own = size_t{handle_.tokens} * handle_.shape().topk;
  count_routing(handle_.group().placement(), handle_.shape().topk,
                handle_.tables.experts.first(own), mine().assignments(), mine().tokens());
}

Status PrepareOperation::gather() {
  const PrepareMemory& memory = handle_.group().prepare_memory();
  const Placement& placement = handle_.group().placement();
  return exchange_.start_all_gather(
      memory.mine, memory.all, ExpertCounts::bytes(placement.num_experts(), placement.nranks()),
      header());
}

Operation::Progress PrepareOperation::advance() {
  while (stage_ != Stage::kDone) {
    waits_.before(exchange_.execution(), &stats());
    const Execution::State state = exchange_.advance();
    waits_.after(exchange_.execution(), state == Execution::State::kBlocked, &stats());
    switch (state) {
      case Execution::State::kBlocked:
        return Progress::kBlocked;
      case Execution::State::kFailed:
        failure_ = exchange_.execution().failure();
        return Progress::kFailed;
      case Execution::State::kMismatch:
        culprit_ = exchange_.execution().surprise().peer;
        failure_ =
            error(Code::kMismatch, "%s: %s: rank %d called something else of this group",
                  comm().who().c_str(), describe().c_str(), exchange_.execution().surprise().peer);
        return Progress::kFailed;
      case Execution::State::kDone:
        failure_ = go_on();
        if (failure_.ok()) break;
        failure_ = error(failure_.code(), "%s: %s: %s", comm().who().c_str(), describe().c_str(),
                         failure_.text().c_str());
        return Progress::kFailed;
    }
  }
  return Progress::kDone;
}

Status PrepareOperation::go_on() {
  stats().sent.add(traffic_of(exchange_.plan(), handle_.group().placement(), comm().rank()));
  switch (stage_) {
    case Stage::kCounts:
      agree_on_masks();
      if (!accepts(check_headers(all(), masked_, comm().rank(), own_, &culprit_))) break;
      handle_.weighted = is_weighted(all(), masked_, comm().rank());
      if (drop()) {
        stage_ = Stage::kCountsAgain;
        return gather();
      }
      return judge();
    case Stage::kCountsAgain:
      return judge();
    case Stage::kRouted:
      TUTTI_TRY(take_routed());
      stats().dropped += handle_.dropped;
      break;
    case Stage::kDone:
      break;
  }
  stage_ = Stage::kDone;
  return Status();
}

// What goes beyond capacities over all sources: lower ranks come first. True where the others
// cannot tell from the first counts how many are left.
bool PrepareOperation::drop() {
  const ExpertShape& shape = handle_.shape();
  const Placement& placement = handle_.group().placement();
  if (shape.cap != ExpertCap::kRank && shape.cap != ExpertCap::kExpertGlobal) return false;
  const bool by_rank = shape.cap == ExpertCap::kRank;
  const size_t num = by_rank ? static_cast<size_t>(placement.nranks()) : placement.num_experts();
  const std::span<uint32_t> used(handle_.group().prepare_memory().used, num);
  std::fill(used.begin(), used.end(), 0);
  for (int s = 0; s < comm().rank(); ++s) {
    const std::span<uint32_t> theirs = by_rank ? all().of(s).tokens() : all().of(s).assignments();
    for (size_t i = 0; i < num; ++i) used[i] += theirs[i];
  }
  const std::span<int32_t> experts =
      handle_.tables.experts.first(size_t{handle_.tokens} * shape.topk);
  handle_.dropped = by_rank
                        ? drop_tokens_after(shape.capacity, placement, shape.topk, used, experts)
                        : drop_after(shape.capacity, used, experts);
  count();
  if (by_rank) return true;
  cut_counts();
  bool bounded = false;
  for (int r = 0; r < placement.nranks(); ++r) {
    bounded = bounded || all().of(r).header().most_rows != UINT64_MAX;
  }
  return bounded && shape.layout == ExpertLayout::kFlat;
}

// Of every expert the first `capacity` assignments are left, whoever has them.
void PrepareOperation::cut_counts() {
  const Placement& placement = handle_.group().placement();
  for (uint32_t e = 0; e < placement.num_experts(); ++e) {
    uint32_t left = handle_.shape().capacity;
    for (int s = 0; s < placement.nranks(); ++s) {
      uint32_t& count = all().of(s).assignments()[e];
      count = std::min(count, left);
      left -= count;
    }
  }
}

Status PrepareOperation::judge() {
  const Placement& placement = handle_.group().placement();
  handle_.rows_needed =
      is_left_out() ? 0 : rows_needed_at(handle_.shape(), placement, all(), comm().rank());
  if (accepts(check_room(handle_.shape(), placement, all(), masked_, comm().rank(), &culprit_))) {
    stage_ = Stage::kRouted;
    return exchange_routed();
  }
  stage_ = Stage::kDone;
  return Status();
}

}  // namespace tutti
