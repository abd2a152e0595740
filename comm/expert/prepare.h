// PrepareOperation: the ranks of a group agree on one routing.
//
//   route      ids to experts; what a capacity per source drops; counts
//   counts     all-gather of ExpertCounts; then every rank knows whether all is well, and who is
//              masked: their assignments and those to them are as though their ids were negative
//   dropping   what capacities over all sources drop, from the counts of lower ranks; where the
//              counts that are left do not follow from the first ones, they are gathered again
//   routed     each rank tells each other one its assignments there, and how many it had wanted
//   layout     rows, and what the caller asked to know
//
// A refusal (outcome()) is the same on all ranks but for its words, comes before anything is moved,
// and leaves the group as it was. A masked rank exchanges what the others do, for it is to know as
// much as they, and is refused nothing but what is wrong with its own arguments.
#pragma once

#include <string>

#include "comm/expert/exchange.h"
#include "comm/expert/handle.h"
#include "comm/expert/routing.h"
#include "comm/runtime/operation.h"

namespace tutti {

// Numbers of a tensor that Prepare writes: i32 or i64, or u8. Null: not wanted.
struct CountTensor {
  void* data = nullptr;
  bool wide = false;
  void set(size_t i, int64_t value) const;
};

struct PrepareCall {
  RoutingIds ids;
  const void* weights = nullptr;  // f32 [T, K]
  size_t weight_stride = 0;       // bytes
  CountTensor expert_count, src_count;
  int64_t* expert_offset = nullptr;
  int64_t* want_count = nullptr;
  int64_t* row_src = nullptr;
  int32_t* row_slot = nullptr;
  uint64_t row_room = UINT64_MAX;  // rows that row_src and row_slot have
  uint8_t* keep = nullptr;
  size_t keep_stride = 0;
  Status own;  // what is wrong with the arguments of this rank
};

class PrepareOperation final : public Operation {
 public:
  // The handle counts this operation as busy from now on.
  PrepareOperation(ExpertHandle& handle, PrepareCall call);

  Status begin() override;
  Progress advance() override;
  Status failure() const override { return failure_; }
  Status health(int* peer) const override { return exchange_.execution().health(peer); }
  int waiting_for() const override { return exchange_.execution().waiting_for(); }
  int culprit() const override {
    return culprit_ >= 0 ? culprit_ : handle_.group().channels().failed_peer();
  }
  std::string describe() const override;
  Status outcome() const override { return outcome_; }
  void let_go() override;

 private:
  enum class Stage : uint8_t { kCounts, kCountsAgain, kRouted, kDone };

  Communicator& comm() const { return handle_.group().comm(); }
  GroupStats& stats() { return handle_.group().stats(); }
  ExpertCounts mine() const;
  AllCounts all() const;
  OpHeader header();
  void route();
  void count();
  Status gather();
  bool is_left_out() const;
  void agree_on_masks();
  bool accepts(const Status& verdict);
  void take_nothing();
  // What to do when the stage's exchange is over. Not ok: the communicator ends.
  Status go_on();
  bool drop();
  void cut_counts();
  Status judge();
  size_t told_of_mates(int source, int rank) const;
  Status exchange_routed();
  Status take_routed();
  void finish_routing();
  void write_info() const;
  void write_rows_info() const;

  ExpertHandle& handle_;
  HandleUse use_;
  PrepareCall call_;
  const std::vector<uint8_t> proposed_;  // masks, by this rank at the call
  std::vector<uint8_t> masked_;          // by all; empty for none
  Status own_;                           // what is wrong with this rank's part
  Exchange exchange_;
  WaitClock waits_;
  Stage stage_ = Stage::kCounts;
  uint64_t sequence_ = 0;
  int culprit_ = -1;
  Status failure_;
  Status outcome_;
};

}  // namespace tutti
