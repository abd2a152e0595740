// Dispatch and combine by collectives that move everything: an all-gather of all tokens, of which
// each rank picks its own; back goes a reduce-scatter of what each rank has added up for every
// token of all ranks, rounded at every step of the reduction.
#pragma once

#include <cstdint>
#include <gloo/algorithm.h>
#include <gloo/context.h>
#include <memory>
#include <string>
#include <vector>

#include "bench/peers/gloo_rows.h"
#include "bench/perf/expert_plan.h"
#include "comm/device/row_sum.h"

namespace perf {

class GatherRows : public GlooRows {
 public:
  // Why `c` cannot be done in this way; "" when it can.
  static std::string lacks(const Case& c, int nranks);

  GatherRows(const Case& c, const std::shared_ptr<gloo::Context>& context, void* send_memory,
             void* recv_memory);

  void run(uint32_t tag) override;
  Tiers sent_bytes() const override;

 private:
  void plan_sums();
  void dispatch(uint32_t tag);
  void combine();

  Case case_;
  int nranks_;
  ExpertPlan plan_;
  size_t row_bytes_;
  std::shared_ptr<gloo::Context> context_;
  uint8_t* send_memory_;
  uint8_t* recv_memory_;

  std::vector<uint16_t> gathered_;  // tokens of all ranks
  std::vector<int32_t> from_, to_;  // of them to rows
  std::vector<uint16_t> sums_of_;   // of this rank's rows, for the tokens of all ranks
  std::vector<std::vector<const void*>> terms_;
  std::vector<tutti::RowSum> sums_;
  std::unique_ptr<gloo::Algorithm> reduce_scatter_;
};

}  // namespace perf
