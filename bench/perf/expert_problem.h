// ExpertProblem: the buffers of one rank for one case of dispatch or combine, what goes in and what
// must come out. One thread.
//
// Elements are small integers, so that sums are exact in bf16 whatever their order, and weights are
// powers of two. A row is a stretch of one sequence with a prime period; where it begins depends on
// whose row it is, so that one row cannot pass for another.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/perf/expert_plan.h"
#include "bench/perf/problem.h"

namespace perf {

// Of an assignment, the same on all ranks: 1/2, 1 or 2.
float expert_weight(int source, int token, int k);

class ExpertProblem : public Problem {
 public:
  ExpertProblem(const Case& c, int rank, int nranks);

  size_t send_bytes() const override { return plan_.places().send_bytes; }
  size_t recv_bytes() const override { return plan_.places().recv_bytes; }
  Buffers place(void* send_memory, void* recv_memory, int root) const override;
  void fill(const Buffers& buffers, int root, uint64_t salt) override;
  uint64_t wrong(const void* result, int root, uint64_t salt) override;

 private:
  // Whose a row is: a token's, or that of an expert (or rank) that answers it.
  struct Owner {
    int source;
    int token;
    int answers;  // -1: the token's own; else k, or the rank in layouts without experts
  };
  size_t begin_of(const Owner& owner, uint64_t salt) const;  // of a row in the sequence
  void write_tokens(uint8_t* send, uint64_t salt) const;
  uint64_t wrong_elements(const uint16_t* expected, float scale, const uint8_t* row) const;
  uint64_t wrong_dispatch(const uint8_t* recv, uint64_t salt) const;
  uint64_t wrong_row(const ExpertRow& row, const uint8_t* recv, uint64_t salt) const;
  uint64_t wrong_quantised(const int8_t* expected, const uint8_t* row, const float* scales) const;
  uint64_t wrong_sums(const uint8_t* y, uint64_t salt) const;
  bool dispatches() const { return case_.collective != Collective::kExpertCombine; }
  bool combines() const { return case_.collective != Collective::kExpertDispatch; }

  Case case_;
  int rank_;
  int nranks_;
  size_t hidden_;
  ExpertPlan plan_;
  std::vector<int8_t> elements_;  // the sequence, a row longer than its period
  std::vector<uint16_t> bf16_;    // the same as bf16
};

}  // namespace perf
