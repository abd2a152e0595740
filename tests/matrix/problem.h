// Problem: the inputs of a group on every rank, and what each output block must hold.
//
// Where each result is one fold in rank order, or a copy, or where order cannot matter (integers,
// bool, min and max), it is computed straight from the inputs, and up to medium sizes the
// interpreted schedules must say the same. Otherwise the interpreted schedules are the reference.
// Threads: made by one thread (which lets the team help), then read by all.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/matrix/blocks.h"
#include "tests/matrix/case.h"
#include "tests/support/ranks.h"

namespace tutti {

// Bytes that are made without being cleared first: some are gigabytes in all.
class Image {
 public:
  Image() = default;
  explicit Image(size_t bytes) : data_(new uint8_t[bytes + 1]), bytes_(bytes) {}
  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }
  size_t size() const { return bytes_; }

 private:
  std::unique_ptr<uint8_t[]> data_;
  size_t bytes_ = 0;
};

struct RankData {
  Blocks blocks;
  Image input;             // up to the end of the last block, gaps filled too
  uint8_t scalar[8] = {};  // of a pre-multiplied sum
};

class Problem {
 public:
  Problem(const Group& group, uint64_t seed, RankTeam& team);

  const Case& common() const { return group_.common; }
  const RankData& rank(int r) const { return ranks_[static_cast<size_t>(r)]; }
  size_t element_bytes() const { return element_bytes_; }
  // What block `block` of rank r's output must hold.
  const uint8_t* expected(int r, uint32_t block) const;
  // What is wrong with the reference itself, or "".
  const std::string& fault() const { return fault_; }

 private:
  void make_inputs(uint64_t seed);
  const uint8_t* term(int r, uint32_t block) const;  // input of a fold: scaled where asked
  void fold_directly();
  void interpret_schedules();
  void take_output(int r, const Image& output);  // keeps or compares what interpretation gave
  bool order_matters() const;
  size_t result_start(uint32_t block) const;  // in result_, in elements
  size_t result_offset(int r) const;          // of what rank r gets, in result_, in bytes

  const Group& group_;
  RankTeam& team_;
  const size_t element_bytes_;
  size_t most_ = 0;
  std::vector<RankData> ranks_;
  std::vector<Image> scaled_;
  Image result_;  // reductions: the reduced blocks, back to back
  bool have_result_ = false;
  std::string fault_;
};

}  // namespace tutti
