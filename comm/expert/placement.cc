#include "comm/expert/placement.h"

#include <algorithm>
#include <numeric>

#include "comm/base/hash.h"

namespace tutti {

namespace {

// Sorts 0..n-1 into `num_keys` lists by key, each ascending; lists follow one another.
void sort_by_key(std::span<const int32_t> keys, size_t num_keys, std::vector<uint32_t>* sorted,
                 std::vector<size_t>* first) {
  first->assign(num_keys + 1, 0);
  for (const int32_t key : keys) ++(*first)[static_cast<size_t>(key) + 1];
  std::partial_sum(first->begin(), first->end(), first->begin());
  sorted->resize(keys.size());
  std::vector<size_t> next(first->begin(), first->end());
  for (size_t i = 0; i < keys.size(); ++i) {
    (*sorted)[next[static_cast<size_t>(keys[i])]++] = static_cast<uint32_t>(i);
  }
}

}  // namespace

Result<Placement> Placement::make(const PlacementConfig& config) {
  Placement p;
  p.nranks_ = config.nranks;
  p.ranks_per_node_ = config.ranks_per_node;
  const auto nranks = static_cast<uint32_t>(config.nranks);
  const uint32_t block = (config.num_experts + nranks - 1) / nranks;
  for (uint32_t e = 0; e < config.num_experts; ++e) {
    const int32_t rank =
        config.expert_rank != nullptr ? config.expert_rank[e] : static_cast<int32_t>(e / block);
    if (rank < 0 || rank >= config.nranks) {
      return error(Code::kInvalidArgument, "expert_rank[%u]: expected a rank of 0 to %d, got %d", e,
                   config.nranks - 1, rank);
    }
    p.rank_of_.push_back(rank);
  }
  sort_by_key(p.rank_of_, nranks, &p.experts_, &p.first_of_);
  p.local_of_.resize(config.num_experts);
  for (int r = 0; r < config.nranks; ++r) {
    uint32_t local = 0;
    for (const uint32_t e : p.experts_of(r)) p.local_of_[e] = local++;
  }
  p.num_ids_ = config.num_experts;
  if (config.num_logical > 0) TUTTI_TRY(p.list_replicas(config));
  return p;
}

Status Placement::list_replicas(const PlacementConfig& config) {
  num_ids_ = config.num_logical;
  choice_ = config.replica;
  for (uint32_t e = 0; e < config.num_experts; ++e) {
    const int32_t id = config.phys_to_log[e];
    if (id < 0 || static_cast<uint32_t>(id) >= config.num_logical) {
      return error(Code::kInvalidArgument,
                   "phys_to_log[%u]: expected a logical expert of 0 to %u, got %d", e,
                   config.num_logical - 1, id);
    }
  }
  sort_by_key({config.phys_to_log, config.num_experts}, config.num_logical, &replicas_,
              &first_replica_);
  for (uint32_t id = 0; id < num_ids_; ++id) {
    if (first_replica_[id] < first_replica_[id + 1]) continue;
    return error(Code::kInvalidArgument,
                 "phys_to_log: expected a physical expert for every logical one, got none for %u",
                 id);
  }
  return Status();
}

uint32_t Placement::choose(uint32_t id, int rank, uint64_t token) const {
  const auto all =
      std::span(replicas_).subspan(first_replica_[id], first_replica_[id + 1] - first_replica_[id]);
  if (choice_ == ExpertReplica::kNone) return all[0];
  const auto nth_of = [&](auto is_near) {
    const auto near = static_cast<uint64_t>(std::count_if(all.begin(), all.end(), is_near));
    if (near == 0) return UINT32_MAX;
    uint64_t left = (static_cast<uint64_t>(rank) + token) % near;
    for (const uint32_t e : all) {
      if (is_near(e) && left-- == 0) return e;
    }
    return UINT32_MAX;
  };
  if (choice_ == ExpertReplica::kNearest) {
    uint32_t e = nth_of([&](uint32_t x) { return rank_of(x) == rank; });
    if (e != UINT32_MAX) return e;
    e = nth_of([&](uint32_t x) { return node_of(rank_of(x)) == node_of(rank); });
    if (e != UINT32_MAX) return e;
  }
  return nth_of([](uint32_t) { return true; });
}

uint64_t Placement::hash() const {
  uint64_t hash = hash_combine(num_ids_, static_cast<uint64_t>(ranks_per_node_));
  hash = hash_combine(hash, static_cast<uint64_t>(choice_));
  hash = hash_combine(hash, hash64(rank_of_.data(), rank_of_.size() * sizeof(rank_of_[0])));
  hash = hash_combine(hash, hash64(replicas_.data(), replicas_.size() * sizeof(replicas_[0])));
  return hash_combine(
      hash, hash64(first_replica_.data(), first_replica_.size() * sizeof(first_replica_[0])));
}

}  // namespace tutti
