#include "comm/runtime/plans.h"

#include <algorithm>

#include "comm/base/hash.h"
#include "comm/schedule/contract.h"

namespace tutti {

Plans::Plans(Transport& transport, uint64_t comm_id, int rank, std::vector<int> peers,
             const Config& config, MachineClass machine, size_t cache_bytes)
    : transport_(transport),
      rank_(rank),
      peers_(std::move(peers)),
      channels_(transport, comm_id, Plane::kCollective, 0, peers_),
      config_(config),
      machine_(machine),
      cache_bytes_(cache_bytes) {}

size_t Plans::ShapeHash::operator()(const CallShape& s) const {
  const uint64_t what = static_cast<uint64_t>(s.collective) | static_cast<uint64_t>(s.dtype) << 8 |
                        static_cast<uint64_t>(s.op) << 16 | uint64_t{s.in_place} << 24 |
                        static_cast<uint64_t>(s.root) << 32;
  return hash_combine(s.count, what);
}

namespace {

uint64_t hash_of(const std::vector<size_t>& numbers) {
  return hash64(numbers.data(), numbers.size() * sizeof(size_t));
}

// Of blocks that differ: what stands for `count`.
uint64_t hash_of(const CollectiveCall::Blocks& blocks) {
  uint64_t hash = blocks.input.each;
  for (const BlockList* list : {&blocks.input, &blocks.output}) {
    hash = hash_combine(hash, hash_of(list->counts));
    hash = hash_combine(hash, hash_of(list->displs));
  }
  return hash_combine(hash, blocks.output.each);
}

}  // namespace

CallShape Plans::shape_of(const CollectiveCall& call) {
  CallShape shape = call;
  if (!call.equal()) shape.count = hash_of(*call.blocks);
  return shape;
}

bool Plans::has_blocks_of(const Cached& cached, const CollectiveCall& call) {
  return cached.counts_known == call.counts_known_to_all &&
         cached.counts_hash == call.counts_hash && cached.blocks.input == call.blocks->input &&
         cached.blocks.output == call.blocks->output;
}

Result<BoundCall*> Plans::look_up(const CollectiveCall& call) {
  const CallShape shape = shape_of(call);
  const auto found = index_.find(shape);
  if (found != index_.end() && is_for(*found->second, shape, call)) {
    cache_.splice(cache_.begin(), cache_, found->second);
    recent_[recent_slot(shape)] = &cache_.front();
    return &cache_.front().bound;
  }
  BoundCall bound;
  TUTTI_TRY(bind(call, &bound));
  make_room();
  cache_.push_front(
      {shape, std::move(bound), call.equal(), call.counts_known_to_all, call.counts_hash, {}});
  if (!call.equal()) cache_.front().blocks = *call.blocks;
  index_[shape] = cache_.begin();
  recent_[recent_slot(shape)] = &cache_.front();
  return &cache_.front().bound;
}

void Plans::make_room() {
  if (cache_.size() < kMostCached) return;
  for (auto it = cache_.end(); it != cache_.begin();) {
    --it;
    if (it->bound.holders > 0 || recent_[recent_slot(it->shape)] == &*it) continue;
    index_.erase(it->shape);
    cache_.erase(it);
    return;
  }
}

Status Plans::bind(const CollectiveCall& call, BoundCall* bound) {
  const auto nranks = static_cast<int>(peers_.size());
  const BlockList input = call.equal()
                              ? BlockList{input_blocks(call.collective, nranks), call.count, {}, {}}
                              : call.blocks->input;
  const BlockList output =
      call.equal() ? BlockList{output_blocks(call.collective, nranks), call.count, {}, {}}
                   : call.blocks->output;
  // Where sizes differ between ranks the choice may only rest on what all of them know.
  size_t bytes = call.count * size_of(call.dtype);
  if (!call.equal()) {
    bytes = call.counts_known_to_all
                ? std::max(input.largest(), output.largest()) * size_of(call.dtype)
                : 0;
  }
  const Choice choice = select(config_, machine_, call.collective, bytes, nranks,
                               call.equal() || call.counts_known_to_all);
  Params params;
  params.nranks = nranks;
  params.rank = rank_;
  params.root = call.root;
  params.in_place = call.in_place;
  params.pieces = choice.pieces;
  make_schedule(*choice.algorithm, params, &schedule_);
  const Capabilities& capabilities = transport_.capabilities();
  const DataLayout layout(input, output, schedule_.shape.chunks_per_block, size_of(call.dtype),
                          slots_bound(*choice.algorithm), config_.buffer_cap,
                          capabilities.view ? choice.round_bytes : kAnyBytes);
  Result<std::unique_ptr<Plan>> plan = Plan::bind(schedule_, layout, capabilities, channels_);
  if (!plan.ok()) return plan.status();
  bound->plan = std::move(plan.value());
  bound->how = arithmetic_of(call, bound->plan->working_set());
  const auto algorithm = static_cast<uint64_t>(choice.algorithm - catalog().data());
  const uint64_t plan_id = algorithm << 32 | static_cast<uint32_t>(choice.pieces);
  bound->record = record_of(call, fingerprint(call, nranks, plan_id), algorithm);
  return Status();
}

Arithmetic Plans::arithmetic_of(const CollectiveCall& call, size_t working_set) const {
  Arithmetic how;
  how.dtype = call.dtype;
  how.op = call.op;
  how.threads = static_cast<uint32_t>(config_.threads);
  if (call.op == ReduceOp::kAvg || call.op == ReduceOp::kPreMulSum) how.op = ReduceOp::kSum;
  if (call.op == ReduceOp::kAvg && peers_.size() > 1) {
    how.divisor = static_cast<uint32_t>(peers_.size());
  }
  // Beyond the cache nobody will find the results there: write them past it.
  if (working_set * peers_.size() > cache_bytes_) how.stores = Stores::kStreaming;
  return how;
}

// Found by building schedules of several ranks, so remembered.
uint32_t Plans::slots_bound(const Algorithm& algorithm) {
  const auto [it, fresh] = slots_.try_emplace(&algorithm, 0);
  if (fresh) it->second = scratch_slots_bound(algorithm, static_cast<int>(peers_.size()));
  return it->second;
}

}  // namespace tutti
