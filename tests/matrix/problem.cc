#include "tests/matrix/problem.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "tests/support/scalar_reference.h"
#include "tests/support/schedule_interpreter.h"
#include "tests/support/test_data.h"

namespace tutti {

Problem::Problem(const Group& group, uint64_t seed, Team& team)
    : group_(group),
      team_(team),
      element_bytes_(size_of(group.common.dtype)),
      most_(elements_of(group.common)),
      ranks_(static_cast<size_t>(group.common.nranks)) {
  const Case& c = common();
  make_inputs(hash_text(name_of(group_), seed));
  if (is_reduction(c.call)) {
    size_t elements = 0;
    const bool scattered = rank(c.root).blocks.input.num > 1;
    for (int r = 0; r < c.nranks; ++r) {
      elements =
          scattered ? elements + rank(c.root).blocks.input.count(static_cast<uint32_t>(r)) : most_;
    }
    result_ = allocate(elements);
    if (!order_matters()) fold_directly();
  }
  if (c.algorithm == nullptr || c.call == Call::kBarrier) return;
  // Copies and folds of megabytes add nothing to what thousands of elements showed.
  const bool is_reference = is_reduction(c.call) && !have_result_;
  if (!is_reference && c.count == Count::kLarge) return;
  const Verdict verdict = team_.run(1, "schedules of " + name_of(group_), [this](int) {
    interpret_schedules();
    return fault_.empty() ? Verdict::kGood : Verdict::kWrong;
  });
  faulty_ = verdict != Verdict::kGood;
}

std::span<uint8_t> Problem::allocate(size_t elements) {
  const size_t bytes = elements * element_bytes_;
  return {team_.allocate(bytes), bytes};
}

void Problem::make_inputs(uint64_t seed) {
  const Case& c = common();
  if (c.call == Call::kBarrier) return;
  const bool scale = is_reduction(c.call) && c.op == ReduceOp::kPreMulSum;
  for (int r = 0; r < c.nranks; ++r) {
    RankData& data = ranks_[static_cast<size_t>(r)];
    data.blocks = blocks_of(c, is_symmetric(group_), most_, r);
    const size_t elements = extent_of(data.blocks.input);
    data.input = allocate(elements);
    if (scale) scaled_.push_back(allocate(elements));
  }
  team_.run(c.nranks, "inputs of " + name_of(group_), [&](int r) {
    RankData& data = ranks_[static_cast<size_t>(r)];
    const size_t elements = data.input.size() / element_bytes_;
    const uint64_t rank_seed = mix_bits(seed + static_cast<uint64_t>(r) + 1);
    fill_elements(data.input.data(), 0, elements, c.dtype, seed, rank_seed);
    if (!scale) return Verdict::kGood;
    fill_elements(data.scalar, 7, 1, c.dtype, seed ^ 1, rank_seed);
    reference_scale(scaled_[static_cast<size_t>(r)].data(), data.input.data(), elements, c.dtype,
                    data.scalar);
    return Verdict::kGood;
  });
}

const uint8_t* Problem::term(int r, uint32_t block) const {
  const std::span<uint8_t> all = scaled_.empty() ? rank(r).input : scaled_[static_cast<size_t>(r)];
  return all.data() + rank(r).blocks.input.start(block) * element_bytes_;
}

size_t Problem::result_start(uint32_t block) const {
  const BlockList& blocks = rank(common().root).blocks.input;
  size_t start = 0;
  for (uint32_t b = 0; b < block; ++b) start += blocks.count(b);
  return start;
}

bool Problem::order_matters() const {
  const Case& c = common();
  if (c.algorithm->rounding == Rounding::kOnce || !is_float(c.dtype)) return false;
  return c.op != ReduceOp::kMax && c.op != ReduceOp::kMin;
}

void Problem::fold_directly() {
  const Case& c = common();
  const BlockList& blocks = rank(c.root).blocks.input;
  const bool sum = c.op == ReduceOp::kAvg || c.op == ReduceOp::kPreMulSum;
  const auto parts = static_cast<size_t>(team_.size());
  team_.run(team_.size(), "reference of " + name_of(group_), [&](int part) {
    for (uint32_t b = 0; b < blocks.num; ++b) {
      const size_t first = blocks.count(b) * static_cast<size_t>(part) / parts;
      const size_t last = blocks.count(b) * (static_cast<size_t>(part) + 1) / parts;
      std::vector<const void*> sources;
      for (int r = 0; r < c.nranks; ++r) sources.push_back(term(r, b) + first * element_bytes_);
      ReferenceCall call{result_.data() + (result_start(b) + first) * element_bytes_,
                         sources.data(),
                         c.nranks,
                         last - first,
                         c.dtype,
                         sum ? ReduceOp::kSum : c.op};
      if (c.op == ReduceOp::kAvg) call.divisor = static_cast<uint32_t>(c.nranks);
      reference_reduce(call);
    }
    return Verdict::kGood;
  });
  have_result_ = true;
}

size_t Problem::result_offset(int r) const {
  const bool scattered = rank(common().root).blocks.input.num > 1;
  return scattered ? result_start(static_cast<uint32_t>(r)) * element_bytes_ : 0;
}

const uint8_t* Problem::expected(int r, uint32_t block) const {
  const Case& c = common();
  if (is_reduction(c.call)) return result_.data() + result_offset(r);
  const Origin origin = origin_of(c, r, block);
  const RankData& from = rank(origin.from);
  return from.input.data() + from.blocks.input.start(origin.from_block) * element_bytes_;
}

void Problem::interpret_schedules() {
  const Case& c = common();
  const bool sum = c.op == ReduceOp::kAvg || c.op == ReduceOp::kPreMulSum;
  Interpretation what{c.algorithm, 1, c.root, c.dtype, sum ? ReduceOp::kSum : c.op, 0};
  if (c.op == ReduceOp::kAvg) what.divisor = static_cast<uint32_t>(c.nranks);
  std::vector<DataLayout> layouts;
  std::vector<std::unique_ptr<uint8_t[]>> outputs;
  std::vector<InterpretedRank> memory;
  for (int r = 0; r < c.nranks; ++r) {
    layouts.push_back(layout_of(c, is_symmetric(group_), most_, r, &what.pieces));
    outputs.push_back(std::make_unique_for_overwrite<uint8_t[]>(
        extent_of(rank(r).blocks.output) * element_bytes_ + 1));
  }
  for (int r = 0; r < c.nranks; ++r) {
    const auto i = static_cast<size_t>(r);
    const std::span<uint8_t> input = scaled_.empty() ? rank(r).input : scaled_[i];
    memory.push_back({&layouts[i], input.data(), outputs[i].get()});
  }
  fault_ = interpret(what, memory);
  for (int r = 0; r < c.nranks && fault_.empty(); ++r) {
    take_output(r, outputs[static_cast<size_t>(r)].get());
  }
}

void Problem::take_output(int r, const uint8_t* output) {
  const Case& c = common();
  const BlockList& blocks = rank(r).blocks.output;
  const bool scattered = rank(c.root).blocks.input.num > 1;
  for (uint32_t b = 0; b < blocks.num; ++b) {
    const size_t bytes = blocks.count(b) * element_bytes_;
    if (bytes == 0) continue;
    const uint8_t* got = output + blocks.start(b) * element_bytes_;
    if (is_reduction(c.call) && !have_result_) {
      std::memcpy(result_.data() + result_offset(r), got, bytes);
      // Where all ranks get the same, they must get the bits of the first.
      have_result_ = !scattered;
    } else if (std::memcmp(expected(r, b), got, bytes) != 0) {
      fault_ = "the schedules give rank " + std::to_string(r) + " another block " +
               std::to_string(b) + " than the direct reference";
      return;
    }
  }
}

}  // namespace tutti
