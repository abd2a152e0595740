// Placement: which rank has which expert, and which of several copies an assignment goes to.
//
// Physical experts 0..num_experts-1 live on one rank each; those of a rank, in ascending order, are
// its local experts 0..L-1. Ids in a routing name logical experts where there are replicas, else
// physical ones. A value; the same on all ranks of a group.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/base/status.h"
#include "comm/expert/types.h"

namespace tutti {

struct PlacementConfig {
  int nranks = 1;
  int ranks_per_node = 1;  // node n has the ranks [n * ranks_per_node, ...)
  uint32_t num_experts = 1;
  const int32_t* expert_rank = nullptr;  // [num_experts]; null: blocks of ceil(E / R)
  uint32_t num_logical = 0;              // 0: no replicas
  const int32_t* phys_to_log = nullptr;  // [num_experts]
  ExpertReplica replica = ExpertReplica::kNone;
};

class Placement {
 public:
  // kInvalidArgument names the expert whose rank or id is out of range, or the logical expert that
  // nobody has.
  static Result<Placement> make(const PlacementConfig& config);

  int nranks() const { return nranks_; }
  uint32_t num_experts() const { return static_cast<uint32_t>(rank_of_.size()); }
  uint32_t num_ids() const { return num_ids_; }  // what a routing may name
  int rank_of(uint32_t expert) const { return rank_of_[expert]; }
  uint32_t local_of(uint32_t expert) const { return local_of_[expert]; }
  std::span<const uint32_t> experts_of(int rank) const {
    const auto r = static_cast<size_t>(rank);
    return std::span(experts_).subspan(first_of_[r], first_of_[r + 1] - first_of_[r]);
  }
  int node_of(int rank) const { return rank / ranks_per_node_; }
  int ranks_per_node() const { return ranks_per_node_; }
  int num_nodes() const { return node_of(nranks_ - 1) + 1; }
  // Equal where all of the above is.
  uint64_t hash() const;

  // The physical expert to which `rank` sends its token `token` for `id` < num_ids(): of the copies
  // the lowest; or number (rank + token) modulo how many there are, of all or (nearest) of those on
  // its own rank, else of those on its own node, else of all.
  uint32_t resolve(uint32_t id, int rank, uint64_t token) const {
    return replicas_.empty() ? id : choose(id, rank, token);
  }

 private:
  uint32_t choose(uint32_t id, int rank, uint64_t token) const;
  Status list_replicas(const PlacementConfig& config);

  int nranks_ = 1;
  int ranks_per_node_ = 1;
  uint32_t num_ids_ = 0;
  ExpertReplica choice_ = ExpertReplica::kNone;
  std::vector<int32_t> rank_of_;    // by expert
  std::vector<uint32_t> local_of_;  // by expert
  std::vector<uint32_t> experts_;   // by rank, ascending
  std::vector<size_t> first_of_;    // by rank, and one past the last
  std::vector<uint32_t> replicas_;  // by id, ascending; empty: ids are experts
  std::vector<size_t> first_replica_;
};

}  // namespace tutti
