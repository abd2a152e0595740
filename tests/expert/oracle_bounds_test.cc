// How far sums may be from f64, and that the bounds tell right from wrong.
#include <cmath>
#include <gtest/gtest.h>

#include "tests/expert/oracle_cases.h"

namespace tutti::oracle {
namespace {

constexpr uint64_t kProblems = 600;

// The largest error in units of the bound.
double worst(const std::vector<std::vector<uint8_t>>& got, tuttiDataType_t dtype,
             const std::vector<Bounded>& want) {
  double ratio = 0;
  for (size_t r = 0; r < got.size(); ++r) {
    const std::vector<float> values = unpack(dtype, got[r]);
    for (size_t i = 0; i < values.size(); ++i) {
      const double error = std::fabs(double{values[i]} - want[r].value[i]);
      ratio = std::max(ratio, error / want[r].bound[i]);
    }
  }
  return ratio;
}

CombineCase random_case(Random& random, const Problem& p, const Prepared& prepared) {
  constexpr tuttiDataType_t kTypes[] = {tuttiFloat32, tuttiBfloat16, tuttiFloat16};
  CombineCase c;
  c.reduce = static_cast<Reduce>(random.below(3));
  c.apply = p.has_expert_rows() && random.one_in(2);
  c.hidden = 4;
  c.row_type = kTypes[random.below(3)];
  c.partial = kTypes[random.below(3)];
  c.out_type = kTypes[random.below(3)];
  c.rows = pack_all(c.row_type, normals(random, p, prepared, c.hidden));
  const int64_t biases = random.below(3);
  for (int64_t b = 0; b < biases; ++b) {
    c.bias[b] = pack_all(c.out_type, numbers_of(
                                         p.nranks(), [&](int r) { return p.ranks[r].tokens * 4; },
                                         [&] { return random.normal(); }));
  }
  return c;
}

TEST(OracleBounds, EverySumIsWithinItsBound) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const Problem p = sound_problem(seed, small_limits());
    const Prepared prepared = prepare(p);
    Random random{seed};
    const CombineCase c = random_case(random, p, prepared);
    const double ratio =
        worst(combine(p, prepared, c), c.out_type, combine_reference(p, prepared, c));
    ASSERT_LE(ratio, 1) << "seed " << seed;
  }
}

// K = 8 of 64 experts on 8 ranks in nodes of 2, weights that sum to 1: the contract's own figures.
struct Measured {
  Problem p;
  Prepared prepared;
  CombineCase c;
};

Measured measured_case(Reduce reduce, tuttiDataType_t partial) {
  Random random{17};
  Measured m;
  m.p.topk = 8;
  m.p.max_tokens = 16;
  m.p.num_experts = 64;
  m.p.ranks_per_node = 2;
  m.p.layout = Layout::kExpertMajor;
  m.p.ranks.resize(8);
  for (RankInput& rank : m.p.ranks) {
    rank.tokens = 16;
    for (int64_t t = 0; t < rank.tokens; ++t) {
      float sum = 0;
      std::vector<float> weights;
      for (int k = 0; k < 8; ++k) {
        rank.ids.push_back(k * 8 + random.below(8));
        weights.push_back(static_cast<float>(random.uniform()) + 0.01f);
        sum += weights.back();
      }
      for (float w : weights) rank.weights.push_back(w / sum);
    }
  }
  m.prepared = prepare(m.p);
  m.c.reduce = reduce;
  m.c.apply = true;
  m.c.hidden = 256;
  m.c.row_type = m.c.out_type = tuttiBfloat16;
  m.c.partial = partial;
  m.c.rows = pack_all(tuttiBfloat16, normals(random, m.p, m.prepared, 256));
  return m;
}

double root_mean_square(const Measured& m, const std::vector<std::vector<uint8_t>>& got) {
  const std::vector<Bounded> want = combine_reference(m.p, m.prepared, m.c);
  double error = 0;
  double power = 0;
  for (size_t r = 0; r < got.size(); ++r) {
    const std::vector<float> values = unpack(m.c.out_type, got[r]);
    for (size_t i = 0; i < values.size(); ++i) {
      error += std::pow(double{values[i]} - want[r].value[i], 2);
      power += std::pow(want[r].value[i], 2);
    }
  }
  return std::sqrt(error / power);
}

TEST(OracleBounds, ErrorsAreAsLargeAsMeasured) {
  auto rms = [](Reduce reduce, tuttiDataType_t partial) {
    const Measured m = measured_case(reduce, partial);
    return root_mean_square(m, combine(m.p, m.prepared, m.c));
  };
  EXPECT_NEAR(rms(Reduce::kSlot, tuttiBfloat16), 1.65e-3, 0.1e-3);
  EXPECT_NEAR(rms(Reduce::kRank, tuttiBfloat16), 2.35e-3, 0.15e-3);
  EXPECT_NEAR(rms(Reduce::kNode, tuttiBfloat16), 2.8e-3, 0.25e-3);
  EXPECT_NEAR(rms(Reduce::kRank, tuttiFloat32), 1.65e-3, 0.1e-3);
}

TEST(OracleBounds, AnAccumulatorInBf16IsFoundOut) {
  const Measured m = measured_case(Reduce::kSlot, tuttiBfloat16);
  const std::vector<Bounded> want = combine_reference(m.p, m.prepared, m.c);
  const auto wrong = combine_bf16_accumulator(m.p, m.prepared, m.c);
  EXPECT_LE(worst(combine(m.p, m.prepared, m.c), tuttiBfloat16, want), 1);
  EXPECT_GT(worst(wrong, tuttiBfloat16, want), 2);  // RANK's bound, in units of SLOT's
  EXPECT_GT(root_mean_square(m, wrong), 3e-3);
}

// Ordinary rows seldom take it past NODE's bound. A large term before many small ones always does.
TEST(OracleBounds, AnAccumulatorInBf16LosesSmallTerms) {
  for (Reduce reduce : {Reduce::kSlot, Reduce::kRank, Reduce::kNode}) {
    Problem p = one_token(std::vector<int64_t>(64, 1), {0, 1}, Layout::kExpertMajor);
    p.ranks[0].ids[0] = 0;
    const Prepared prepared = prepare(p);
    CombineCase c;
    c.reduce = reduce;
    c.hidden = 1;
    c.row_type = c.partial = c.out_type = tuttiBfloat16;
    c.rows = pack_all(tuttiBfloat16, {{1}, std::vector<float>(63, 0x1p-9f)});
    const std::vector<Bounded> want = combine_reference(p, prepared, c);
    EXPECT_LE(worst(combine(p, prepared, c), tuttiBfloat16, want), 1);
    EXPECT_GT(worst(combine_bf16_accumulator(p, prepared, c), tuttiBfloat16, want), 3);
  }
}

}  // namespace
}  // namespace tutti::oracle
