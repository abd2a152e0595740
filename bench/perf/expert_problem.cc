#include "bench/perf/expert_problem.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "comm/base/hash.h"

namespace perf {

namespace {

constexpr size_t kPeriod = 8191;  // a prime
constexpr size_t kBlock = 128;    // elements that share an fp8 scale

float float_of(uint16_t bf16) { return std::bit_cast<float>(static_cast<uint32_t>(bf16) << 16); }

// Of a value that bf16 has.
uint16_t bf16_of(float value) {
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
}

float float_of_e4m3(uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const int mantissa = bits & 7;
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (bits & 128) != 0 ? -magnitude : magnitude;
}

// Every sum of a token's rows has to be exact in bf16, which has all integers up to 256; so has a
// row that was multiplied by 2.
std::vector<int8_t> sequence_of(const ExpertShape& shape) {
  const int most = std::clamp(255 / shape.topk, 1, 15);
  std::vector<int8_t> elements(kPeriod + static_cast<size_t>(shape.hidden) + 64);
  for (size_t i = 0; i < elements.size(); ++i) {
    const uint64_t mixed = tutti::hash_combine(3, i % kPeriod);
    elements[i] = static_cast<int8_t>(static_cast<int>(mixed % (2 * most + 1u)) - most);
  }
  return elements;
}

}  // namespace

float expert_weight(int source, int token, int k) {
  uint64_t mixed = tutti::hash_combine(5, static_cast<uint64_t>(source));
  mixed = tutti::hash_combine(mixed, static_cast<uint64_t>(token));
  return std::ldexp(0.5f, static_cast<int>((mixed + static_cast<uint64_t>(k)) % 3));
}

ExpertProblem::ExpertProblem(const Case& c, int rank, int nranks)
    : case_(c),
      rank_(rank),
      nranks_(nranks),
      hidden_(static_cast<size_t>(c.expert.hidden)),
      plan_(c, rank, nranks),
      elements_(sequence_of(c.expert)) {
  for (const int8_t element : elements_) bf16_.push_back(bf16_of(element));
}

Buffers ExpertProblem::place(void* send_memory, void* recv_memory, int) const {
  return {send_memory, recv_memory};
}

size_t ExpertProblem::begin_of(const Owner& owner, uint64_t salt) const {
  uint64_t mixed = tutti::hash_combine(salt + 1, static_cast<uint64_t>(owner.source));
  mixed = tutti::hash_combine(mixed, static_cast<uint64_t>(owner.token));
  mixed = tutti::hash_combine(mixed, static_cast<uint64_t>(owner.answers) + 1);
  return mixed % kPeriod;
}

// Those that are not `scale` times what they must be.
uint64_t ExpertProblem::wrong_elements(const uint16_t* expected, float scale,
                                       const uint8_t* row) const {
  if (scale == 1 && std::memcmp(expected, row, hidden_ * 2) == 0) return 0;
  uint64_t wrong = 0;
  for (size_t h = 0; h < hidden_; ++h) {
    uint16_t bits;
    std::memcpy(&bits, row + 2 * h, 2);
    wrong += float_of(bits) == scale * float_of(expected[h]) ? 0 : 1;
  }
  return wrong;
}

void ExpertProblem::write_tokens(uint8_t* send, uint64_t salt) const {
  const ExpertPlan::Places& p = plan_.places();
  const bool forwards = case_.expert.quant == ExpertQuant::kForward;
  for (int t = 0; t < case_.expert.tokens; ++t) {
    const size_t begin = begin_of({rank_, t, -1}, salt);
    const auto at = static_cast<size_t>(t);
    if (!forwards) {
      std::memcpy(send + p.x + at * hidden_ * 2, &bf16_[begin], hidden_ * 2);
      continue;
    }
    // Bytes to whoever moves them, the scales a stretch of the same sequence.
    const size_t scales = scale_bytes(case_.expert);
    std::memcpy(send + p.x + at * hidden_, &elements_[begin], hidden_);
    std::memcpy(send + p.x_scale + at * scales, &elements_[begin], scales);
  }
}

void ExpertProblem::fill(const Buffers& buffers, int, uint64_t salt) {
  auto* const send = static_cast<uint8_t*>(buffers.send);
  const ExpertPlan::Places& p = plan_.places();
  std::memset(buffers.recv, salt % 2 == 0 ? 0xa5 : 0x5a, p.recv_bytes);
  if (dispatches()) write_tokens(send, salt);
  if (!combines()) return;
  // Pages of rows that nobody reads are touched as well.
  std::memset(send + p.expert_rows, 0x7f, plan_.room() * hidden_ * 2);
  for (const ExpertRow& row : plan_.rows()) {
    const int answers = row.k >= 0 ? row.k : rank_;
    std::memcpy(send + p.expert_rows + row.at * hidden_ * 2,
                &bf16_[begin_of({row.source, row.token, answers}, salt)], hidden_ * 2);
  }
}

uint64_t ExpertProblem::wrong_quantised(const int8_t* expected, const uint8_t* row,
                                        const float* scales) const {
  const bool fp8 = case_.expert.quant == ExpertQuant::kFp8Block128;
  uint64_t wrong = 0;
  for (size_t h = 0; h < hidden_; ++h) {
    const float scale = scales[fp8 ? h / kBlock : 0];
    const float got = fp8 ? float_of_e4m3(row[h]) : static_cast<float>(static_cast<int8_t>(row[h]));
    const float value = expected[h];
    const float bound = fp8 ? std::max(std::fabs(value) / 16, scale / 1024) : scale / 2;
    // Not above: a NaN is wrong. The rounding of the f32 operations comes on top.
    const bool near = std::fabs(got * scale - value) <= bound * 1.0001f;
    wrong += near && scale <= 1 ? 0 : 1;
  }
  return wrong;
}

uint64_t ExpertProblem::wrong_row(const ExpertRow& row, const uint8_t* recv, uint64_t salt) const {
  const ExpertShape& shape = case_.expert;
  const ExpertPlan::Places& p = plan_.places();
  const size_t begin = begin_of({row.source, row.token, -1}, salt);
  const int8_t* const expected = &elements_[begin];
  const uint8_t* const got = recv + p.rows + row.at * delivered_bytes(shape);
  const size_t scales = scale_bytes(shape);
  const uint8_t* const got_scales = recv + p.row_scale + row.at * scales;
  if (shape.quant == ExpertQuant::kNone) {
    const bool weighted = shape.backward && row.k >= 0;
    const float weight = weighted ? expert_weight(row.source, row.token, row.k) : 1;
    return wrong_elements(&bf16_[begin], weight, got);
  }
  if (shape.quant == ExpertQuant::kForward) {
    uint64_t wrong = 0;
    for (size_t h = 0; h < hidden_; ++h) wrong += static_cast<int8_t>(got[h]) != expected[h];
    return wrong + (std::memcmp(got_scales, expected, scales) != 0 ? 1 : 0);
  }
  std::vector<float> copied(scales / sizeof(float));
  std::memcpy(copied.data(), got_scales, scales);
  return wrong_quantised(expected, got, copied.data());
}

uint64_t ExpertProblem::wrong_dispatch(const uint8_t* recv, uint64_t salt) const {
  uint64_t wrong = 0;
  for (const ExpertRow& row : plan_.rows()) wrong += wrong_row(row, recv, salt);
  return wrong;
}

uint64_t ExpertProblem::wrong_sums(const uint8_t* y, uint64_t salt) const {
  const bool by_expert = is_by_expert(case_.expert.layout);
  std::vector<int16_t> sum(hidden_);
  std::vector<uint16_t> expected(hidden_);
  uint64_t wrong = 0;
  for (int t = 0; t < case_.expert.tokens; ++t) {
    std::fill(sum.begin(), sum.end(), int16_t{0});
    std::vector<bool> seen(static_cast<size_t>(nranks_));
    for (int k = 0; k < case_.expert.topk; ++k) {
      const int rank = plan_.rank_of(plan_.expert_of(rank_, t, k));
      if (!by_expert && seen[static_cast<size_t>(rank)]) continue;
      seen[static_cast<size_t>(rank)] = true;
      const int8_t* const term =
          elements_.data() + begin_of({rank_, t, by_expert ? k : rank}, salt);
      for (size_t h = 0; h < hidden_; ++h) sum[h] = static_cast<int16_t>(sum[h] + term[h]);
    }
    for (size_t h = 0; h < hidden_; ++h) expected[h] = bf16_of(sum[h]);
    wrong += wrong_elements(expected.data(), 1, y + static_cast<size_t>(t) * hidden_ * 2);
  }
  return wrong;
}

uint64_t ExpertProblem::wrong(const void* result, int, uint64_t salt) {
  const auto* const recv = static_cast<const uint8_t*>(result);
  return (dispatches() ? wrong_dispatch(recv, salt) : 0) +
         (combines() ? wrong_sums(recv + plan_.places().y, salt) : 0);
}

}  // namespace perf
