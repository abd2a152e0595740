// Problem: the inputs of a group on every rank, and what each output block must hold.
//
// Where each result is one fold in rank order, or a copy, or where order cannot matter (integers,
// bool, min and max), it is computed straight from the inputs, and up to medium sizes the
// interpreted schedules must say the same. Otherwise the interpreted schedules are the reference.
// Inputs and results lie in the team's memory, so a team of processes computes them once; there is
// one Problem at a time. Threads: made by one thread (which lets the team help), then read by all.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tests/matrix/blocks.h"
#include "tests/matrix/case.h"
#include "tests/matrix/team.h"

namespace tutti {

struct RankData {
  Blocks blocks;
  std::span<uint8_t> input;  // up to the end of the last block, gaps filled too
  uint8_t scalar[8] = {};    // of a pre-multiplied sum; only known where the rank runs
};

class Problem {
 public:
  Problem(const Group& group, uint64_t seed, Team& team);
  ~Problem() { team_.release(); }
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  const Case& common() const { return group_.common; }
  const RankData& rank(int r) const { return ranks_[static_cast<size_t>(r)]; }
  size_t element_bytes() const { return element_bytes_; }
  // What block `block` of rank r's output must hold.
  const uint8_t* expected(int r, uint32_t block) const;
  // Whether something is wrong with the reference itself: the process that saw it knows what.
  bool is_faulty() const { return faulty_; }
  const std::string& fault() const { return fault_; }

 private:
  std::span<uint8_t> allocate(size_t elements);
  void make_inputs(uint64_t seed);
  const uint8_t* term(int r, uint32_t block) const;  // input of a fold: scaled where asked
  void fold_directly();
  void interpret_schedules();
  void take_output(int r, const uint8_t* output);  // keeps or compares what interpretation gave
  bool order_matters() const;
  size_t result_start(uint32_t block) const;  // in result_, in elements
  size_t result_offset(int r) const;          // of what rank r gets, in result_, in bytes

  const Group& group_;
  Team& team_;
  const size_t element_bytes_;
  size_t most_ = 0;
  std::vector<RankData> ranks_;
  std::vector<std::span<uint8_t>> scaled_;
  std::span<uint8_t> result_;  // reductions: the reduced blocks, back to back
  bool have_result_ = false;
  bool faulty_ = false;
  std::string fault_;
};

}  // namespace tutti
