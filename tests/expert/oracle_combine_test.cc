// Sums by hand, what must hold of any combine, and the bounds that tell right from wrong.
#include <bit>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "tests/expert/oracle_cases.h"

namespace tutti::oracle {
namespace {

using Numbers = std::vector<std::vector<float>>;

constexpr uint64_t kProblems = 200;
constexpr Layout kLayouts[] = {Layout::kFlat, Layout::kExpertMajor, Layout::kExpertSlab,
                               Layout::kRankMajor};

uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }

// One hidden element, f32 everywhere.
Numbers sum_of(const Problem& p, const Numbers& rows, Reduce reduce, bool apply,
               const Numbers& bias = {}, tuttiDataType_t partial = tuttiFloat32) {
  CombineCase c;
  c.reduce = reduce;
  c.apply = apply;
  c.hidden = 1;
  c.partial = partial;
  c.rows = pack_all(tuttiFloat32, rows);
  c.bias[0] = pack_all(tuttiFloat32, bias);
  Numbers sums;
  for (const auto& out : combine(p, prepare(p), c)) sums.push_back(unpack(tuttiFloat32, out));
  return sums;
}

TEST(OracleCombine, SumsAreByHand) {
  const Problem p = two_ranks(Layout::kExpertMajor);
  const Numbers rows = {{1, 10, 100}, {1000, 2000, 4000, 8000}};
  EXPECT_EQ(sum_of(p, rows, Reduce::kSlot, false), (Numbers{{1001, 12000, 100}, {2010}}));
  EXPECT_EQ(sum_of(p, rows, Reduce::kSlot, true), (Numbers{{250.5f, 40000, 12.5f}, {6050}}));
  EXPECT_EQ(sum_of(p, rows, Reduce::kRank, true, {{1, 2, 3}, {4}}),
            (Numbers{{251.5f, 40002, 15.5f}, {6054}}));
  // A row of FLAT counts once, though both slots of rank 0's token 1 lead to it.
  const Problem flat = two_ranks(Layout::kFlat);
  EXPECT_EQ(sum_of(flat, {{1, 10, 100}, {1000, 2000, 4000}}, Reduce::kSlot, false),
            (Numbers{{1001, 2000, 10}, {4100}}));
}

TEST(OracleCombine, SlotsAscendButRanksComeTogether) {
  const Problem p = one_token({0, 2, 1}, {0, 0, 1}, Layout::kExpertMajor);
  const Numbers rows = {{1, 1}, {0x1p24f}};
  EXPECT_EQ(sum_of(p, rows, Reduce::kSlot, false)[0][0], 0x1p24f);
  EXPECT_EQ(sum_of(p, rows, Reduce::kRank, false)[0][0], 0x1p24f + 2);
}

TEST(OracleCombine, FlatSlotsGoByTheSmallestKOfTheirRank) {
  const Problem p = one_token({2, 0, 3}, {0, 0, 1, 1}, Layout::kFlat);
  const Numbers rows = {{-0x1p24f}, {0x1p24f}};
  EXPECT_EQ(sum_of(p, rows, Reduce::kSlot, false, {{1}, {}})[0][0], 0);
  EXPECT_EQ(sum_of(p, rows, Reduce::kRank, false, {{1}, {}})[0][0], 1);
}

TEST(OracleCombine, PartialsRoundOncePerLevel) {
  Problem p = one_token({0, 1}, {0, 1}, Layout::kExpertMajor);
  p.ranks_per_node = 2;
  const Numbers rows = {{1 + 0x1p-8f}, {0x1p-8f}};
  EXPECT_EQ(sum_of(p, rows, Reduce::kSlot, false)[0][0], 1 + 0x1p-7f);
  EXPECT_EQ(sum_of(p, rows, Reduce::kRank, false, {}, tuttiBfloat16)[0][0], 1 + 0x1p-8f);
  EXPECT_EQ(sum_of(p, rows, Reduce::kNode, false, {}, tuttiBfloat16)[0][0], 1);
}

TEST(OracleCombine, ProductsAreRoundedBeforeTheyAreAdded) {
  Problem p = one_token({0}, {0}, Layout::kExpertMajor);
  p.ranks[0].weights = {1 + 0x1p-12f};
  const Numbers rows = {{1 + 0x1p-12f}};
  EXPECT_EQ(sum_of(p, rows, Reduce::kSlot, true, {{-(1 + 0x1p-11f)}})[0][0], 0);  // fused: 2^-24
}

TEST(OracleCombine, TokensWithoutAssignmentsGetTheirBias) {
  Problem p = one_token({-1}, {0}, Layout::kExpertMajor);
  EXPECT_EQ(bits_of(sum_of(p, {{}}, Reduce::kNode, false)[0][0]), 0u);
  EXPECT_EQ(bits_of(sum_of(p, {{}}, Reduce::kRank, false, {{-0.0f}})[0][0]), 0x80000000u);
  EXPECT_EQ(bits_of(sum_of(p, {{}}, Reduce::kNode, false, {{-0.0f}})[0][0]), 0x80000000u);
  p.ranks[0].ids[0] = 0;
  EXPECT_EQ(bits_of(sum_of(p, {{-0.0f}}, Reduce::kSlot, false)[0][0]), 0u);
  const float nan = -std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(bits_of(sum_of(p, {{nan}}, Reduce::kSlot, false)[0][0]), 0x7FC00000u);
}

TEST(OracleCombine, TwoBiasesAreAddedFirst) {
  const Problem p = one_token({0}, {0}, Layout::kFlat);
  CombineCase c;
  c.hidden = 2;
  c.out_type = tuttiFloat16;
  c.rows = pack_all(tuttiFloat32, {{0x1p-24f, 0x1p24f}});
  c.bias = {pack_all(tuttiFloat16, {{1, 1}}), pack_all(tuttiFloat16, {{-1, 2}})};
  const auto out = combine(p, prepare(p), c);
  EXPECT_EQ(unpack(tuttiFloat16, out[0]),
            (std::vector<float>{0x1p-24f, std::numeric_limits<float>::infinity()}));
}

TEST(OracleCombine, CarriesRowValuesBackToSlots) {
  const Problem major = two_ranks(Layout::kExpertMajor);
  EXPECT_EQ(slot_values(major, prepare(major), {{1, 2, 3}, {4, 5, 6, 7}}),
            (Numbers{{1, 4, 6, 7, 0, 3}, {5, 2}}));
  const Problem flat = two_ranks(Layout::kFlat);
  EXPECT_EQ(slot_values(flat, prepare(flat), {{1, 2, 3, 4, 5, 6}, {7, 8, 9, 10, 11, 12}}),
            (Numbers{{1, 8, 9, 10, 0, 4}, {11, 6}}));
}

// Integers, so small that no sum rounds.
Numbers integers(Random& random, const Problem& p, int64_t hidden, const Prepared* prepared) {
  auto count = [&](int r) {
    return hidden * (prepared != nullptr ? prepared->layouts[r].rows : p.ranks[r].tokens);
  };
  return numbers_of(p.nranks(), count, [&] { return static_cast<float>(random.between(-3, 3)); });
}

Numbers dispatch_all(const Problem& p, const Prepared& prepared, const Numbers& x, int64_t hidden,
                     bool apply) {
  Numbers weights;
  for (const RankInput& rank : p.ranks) weights.push_back(rank.weights);
  Numbers got;
  for (const RankLayout& layout : prepared.layouts) {
    const auto packed = pack_all(tuttiFloat32, x);
    std::vector<uint8_t> out(layout.rows * hidden * 4, 0);
    if (apply) {
      write_weighted_rows(p, layout, packed, tuttiFloat32, hidden, weights, out);
    } else {
      write_rows(layout, packed, hidden * 4, out);
    }
    got.push_back(unpack(tuttiFloat32, out));
  }
  return got;
}

double dot(const Numbers& a, const Numbers& b) {
  double sum = 0;
  for (size_t r = 0; r < a.size(); ++r) {
    for (size_t i = 0; i < a[r].size(); ++i) sum += double{a[r][i]} * double{b[r][i]};
  }
  return sum;
}

CombineCase plain_case(const Numbers& rows, int64_t hidden, Reduce reduce, bool apply) {
  CombineCase c;
  c.reduce = reduce;
  c.apply = apply;
  c.hidden = hidden;
  c.rows = pack_all(tuttiFloat32, rows);
  return c;
}

Numbers combine_all(const Problem& p, const Prepared& prepared, const CombineCase& c) {
  Numbers got;
  for (const auto& out : combine(p, prepared, c)) got.push_back(unpack(c.out_type, out));
  return got;
}

// <D x, y> == <x, C y>; weights in eighths keep it exact.
TEST(OracleCombine, IsTheAdjointOfDispatch) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    Problem p = sound_problem(seed, small_limits());
    for (RankInput& rank : p.ranks) {
      for (float& w : rank.weights) w = std::round(w * 8) / 8;
    }
    Random random{seed};
    for (Layout layout : kLayouts) {
      p.layout = layout;
      const Prepared prepared = prepare(p);
      const bool apply = p.has_expert_rows() && random.one_in(2);
      const Numbers x = integers(random, p, 3, nullptr);
      const Numbers y = integers(random, p, 3, &prepared);
      for (Reduce reduce : {Reduce::kSlot, Reduce::kRank, Reduce::kNode}) {
        const Numbers back = combine_all(p, prepared, plain_case(y, 3, reduce, apply));
        ASSERT_EQ(dot(dispatch_all(p, prepared, x, 3, apply), y), dot(x, back)) << "seed " << seed;
      }
    }
  }
}

TEST(OracleCombine, ThereAndBackIsTimesTheNumberOfCopies) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const Problem p = sound_problem(seed, small_limits());
    const Prepared prepared = prepare(p);
    Random random{seed};
    const Numbers x = integers(random, p, 1, nullptr);
    const Numbers rows = dispatch_all(p, prepared, x, 1, false);
    const Numbers back = combine_all(p, prepared, plain_case(rows, 1, Reduce::kNode, false));
    for (int r = 0; r < p.nranks(); ++r) {
      for (int64_t t = 0; t < p.ranks[r].tokens; ++t) {
        float copies = 0;
        for (const RankLayout& layout : prepared.layouts) {
          copies += static_cast<float>(
              std::count(layout.row_src.begin(), layout.row_src.end(), r * p.max_tokens + t));
        }
        ASSERT_EQ(back[r][t], copies * x[r][t]) << "seed " << seed;
      }
    }
  }
}

TEST(OracleCombine, PaddingNeverReachesASum) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const Problem p = sound_problem(seed, small_limits());
    const Prepared prepared = prepare(p);
    Random random{seed};
    Numbers rows = normals(random, p, prepared, 1);
    const Numbers clean = combine_all(p, prepared, plain_case(rows, 1, Reduce::kRank, false));
    for (int r = 0; r < p.nranks(); ++r) {
      for (int64_t n = 0; n < prepared.layouts[r].rows; ++n) {
        if (prepared.layouts[r].row_src[n] < 0) rows[r][n] = std::nanf("");
      }
    }
    ASSERT_EQ(combine_all(p, prepared, plain_case(rows, 1, Reduce::kRank, false)), clean);
  }
}

// Rows given by assignment, wherever it lies, for layouts with a row for each.
Numbers rows_by_assignment(const Prepared& prepared, const Numbers& values, int topk) {
  Numbers rows;
  for (const RankLayout& layout : prepared.layouts) {
    rows.emplace_back(layout.rows, 0.0f);
    for (int64_t n = 0; n < layout.rows; ++n) {
      const Row& row = layout.row[n];
      if (row.fill == Fill::kToken) rows.back()[n] = values[row.src][row.token * topk + row.k];
    }
  }
  return rows;
}

TEST(OracleCombine, SlotBitsDoNotDependOnPlacementNorOnTheNumberOfRanks) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    Limits limits = small_limits();
    limits.masks = limits.capacity = false;
    Problem p = sound_problem(seed, limits);
    p.layout = Layout::kExpertMajor;
    p.num_logical = 0;
    for (RankInput& rank : p.ranks) {
      for (int64_t& id : rank.ids) id = id < 0 ? id : id % p.num_experts;
    }
    Random random{seed};
    const Numbers values = numbers_of(
        p.nranks(), [&](int r) { return p.ranks[r].tokens * p.topk; },
        [&] { return random.normal(); });
    const Prepared here = prepare(p);
    Problem moved = p;
    moved.ranks.resize(p.ranks.size() + 3);
    moved.expert_rank.clear();
    for (int e = 0; e < p.num_experts; ++e) {
      moved.expert_rank.push_back(static_cast<int32_t>(random.below(moved.nranks())));
    }
    const Prepared there = prepare(moved);
    const auto a = combine_all(
        p, here, plain_case(rows_by_assignment(here, values, p.topk), 1, Reduce::kSlot, true));
    auto b =
        combine_all(moved, there,
                    plain_case(rows_by_assignment(there, values, p.topk), 1, Reduce::kSlot, true));
    b.resize(a.size());
    ASSERT_EQ(a, b) << "seed " << seed;
  }
}

// Levels that have one member each add nothing but themselves.
TEST(OracleCombine, LevelsOfOneMemberChangeNothing) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    Problem p = sound_problem(seed, small_limits());
    p.ranks_per_node = 1;
    const Prepared prepared = prepare(p);
    Random random{seed};
    CombineCase c = plain_case(normals(random, p, prepared, 2), 2, Reduce::kRank, false);
    c.partial = tuttiBfloat16;
    const Numbers rank = combine_all(p, prepared, c);
    c.reduce = Reduce::kNode;
    ASSERT_EQ(combine_all(p, prepared, c), rank) << "seed " << seed;
    p.ranks_per_node = 0;
    c.partial = tuttiFloat32;
    const Numbers one_node = combine_all(p, prepared, c);
    c.reduce = Reduce::kRank;
    ASSERT_EQ(combine_all(p, prepared, c), one_node) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tutti::oracle
