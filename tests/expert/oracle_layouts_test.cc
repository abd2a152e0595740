// Layouts by hand, and what must hold in any layout.
#include <algorithm>
#include <gtest/gtest.h>
#include <set>
#include <tuple>

#include "tests/expert/oracle_cases.h"

namespace tutti::oracle {
namespace {

using Rows = std::vector<int64_t>;
using Slots = std::vector<int32_t>;
using Verdicts = std::vector<tuttiResult_t>;
using Assignment = std::tuple<int, int64_t, int, int32_t>;  // source, token, k, expert

constexpr uint64_t kProblems = 300;

TEST(OracleLayouts, FlatIsByHand) {
  const Prepared prepared = prepare(two_ranks(Layout::kFlat));
  const RankLayout& first = prepared.layouts[0];
  EXPECT_EQ(first.rows, 3);
  EXPECT_EQ(first.recv_tokens, 3);
  EXPECT_EQ(first.row_src, (Rows{0, 2, 3}));
  EXPECT_EQ(first.row_slot, (Slots{0, -1, -1, 1, -1, 0}));
  EXPECT_EQ(first.expert_count, (Rows{2, 1}));
  EXPECT_EQ(first.want_count, (Rows{2, 1}));
  EXPECT_EQ(first.src_count, (Rows{2, 1}));
  EXPECT_EQ(first.expert_offset, Rows{});
  const RankLayout& second = prepared.layouts[1];
  EXPECT_EQ(second.row_src, (Rows{0, 1, 3}));
  EXPECT_EQ(second.row_slot, (Slots{-1, 0, 1, 1, 0, -1}));
  EXPECT_EQ(second.expert_count, (Rows{2, 2}));
}

TEST(OracleLayouts, ExpertMajorIsByHand) {
  Problem p = two_ranks(Layout::kExpertMajor);
  EXPECT_EQ(prepare(p).layouts[0].row_src, (Rows{0, 3, 2}));
  EXPECT_EQ(prepare(p).layouts[0].row_slot, (Slots{0, 1, 1}));
  EXPECT_EQ(prepare(p).layouts[0].expert_offset, (Rows{0, 2, 3}));
  EXPECT_EQ(prepare(p).layouts[1].row_src, (Rows{0, 3, 1, 1}));
  EXPECT_EQ(prepare(p).layouts[1].row_slot, (Slots{1, 0, 0, 1}));
  EXPECT_EQ(prepare(p).layouts[1].recv_tokens, 3);
  p.alignment = 4;
  const RankLayout padded = prepare(p).layouts[0];
  EXPECT_EQ(padded.rows, 8);
  EXPECT_EQ(padded.row_src, (Rows{0, 3, -1, -1, 2, -1, -1, -1}));
  EXPECT_EQ(padded.row_slot, (Slots{0, 1, -1, -1, 1, -1, -1, -1}));
  EXPECT_EQ(padded.expert_offset, (Rows{0, 4, 8}));
  EXPECT_EQ(padded.expert_count, (Rows{2, 1}));
}

TEST(OracleLayouts, ExpertMajorPadsToCapacityThenAligns) {
  Problem p = two_ranks(Layout::kExpertMajor);
  p.capacity_mode = CapacityMode::kExpertPerSource;
  p.capacity = 3;
  p.pad_to_capacity = true;
  EXPECT_EQ(prepare(p).layouts[0].expert_offset, (Rows{0, 6, 12}));
  p.alignment = 4;
  EXPECT_EQ(prepare(p).layouts[0].expert_offset, (Rows{0, 8, 16}));
  p.capacity_mode = CapacityMode::kNone;
  p.capacity = 5;
  EXPECT_EQ(prepare(p).layouts[0].expert_offset, (Rows{0, 4, 8}));
}

TEST(OracleLayouts, SlabIsByHand) {
  Problem p = two_ranks(Layout::kExpertSlab);
  p.slab_rows = 3;
  const RankLayout layout = prepare(p).layouts[0];
  EXPECT_EQ(layout.row_src, (Rows{0, 3, -1, 2, -1, -1}));
  EXPECT_EQ(layout.row_slot, (Slots{0, 1, -1, 1, -1, -1}));
  EXPECT_EQ(layout.expert_offset, (Rows{0, 3, 6}));
  EXPECT_EQ(layout.row[2].fill, Fill::kUntouched);
  p.pad_to_capacity = true;
  EXPECT_EQ(prepare(p).layouts[0].row[2].fill, Fill::kZero);
  p.slab_rows = 1;
  EXPECT_EQ(prepare(p).verdict, (Verdicts{tuttiInvalidArgument, tuttiInvalidArgument}));
}

TEST(OracleLayouts, RankMajorIsByHand) {
  const RankLayout layout = prepare(two_ranks(Layout::kRankMajor)).layouts[0];
  EXPECT_EQ(layout.row_src, (Rows{0, 2, -1, 3, -1, -1}));
  EXPECT_EQ(layout.row_slot, (Slots{0, -1, -1, 1, -1, -1, -1, 0, -1, -1, -1, -1}));
  EXPECT_EQ(layout.row[2].fill, Fill::kUntouched);
  EXPECT_EQ(layout.rows, 6);
}

TEST(OracleLayouts, AMaskedRankReceivesNothing) {
  Problem p = two_ranks(Layout::kRankMajor);
  p.masked = {0, 1};
  EXPECT_EQ(prepare(p).layouts[1].rows, 0);
  EXPECT_EQ(prepare(p).layouts[1].src_count, (Rows{0, 0}));
  EXPECT_EQ(prepare(p).layouts[0].src_count, (Rows{2, 0}));
  p.layout = Layout::kExpertSlab;
  EXPECT_EQ(prepare(p).layouts[1].rows, 0);
  EXPECT_EQ(prepare(p).layouts[1].expert_offset, (Rows{0, 0, 0}));
}

TEST(OracleLayouts, ABoundOfRowsIsToldToEveryRank) {
  Problem p = two_ranks(Layout::kExpertMajor);  // 3 and 4 rows
  p.max_recv_rows = 4;
  EXPECT_EQ(prepare(p).verdict, (Verdicts{tuttiSuccess, tuttiSuccess}));
  p.max_recv_rows = 3;
  EXPECT_EQ(prepare(p).verdict, (Verdicts{tuttiRemoteError, tuttiInvalidArgument}));
  EXPECT_EQ(prepare(p).layouts[1].rows, 4);
  p.max_recv_rows = 2;
  EXPECT_EQ(prepare(p).verdict, (Verdicts{tuttiInvalidArgument, tuttiInvalidArgument}));
  p.masked = {1, 0};  // rank 1 keeps two rows: one each of its own experts
  EXPECT_EQ(prepare(p).verdict, (Verdicts{tuttiSuccess, tuttiSuccess}));
}

TEST(OracleLayouts, WritesBytesZeroesPaddingAndLeavesTheRest) {
  const std::vector<std::vector<uint8_t>> x = {{10, 11, 12, 13, 14, 15}, {20, 21}};
  Problem p = two_ranks(Layout::kExpertMajor);
  p.alignment = 2;
  std::vector<uint8_t> out(10, 99);
  write_rows(prepare(p).layouts[0], x, 2, out);
  EXPECT_EQ(out, (std::vector<uint8_t>{10, 11, 20, 21, 14, 15, 0, 0, 99, 99}));
  p.layout = Layout::kRankMajor;
  out.assign(14, 99);
  write_rows(prepare(p).layouts[0], x, 2, out);
  EXPECT_EQ(out, (std::vector<uint8_t>{10, 11, 14, 15, 99, 99, 20, 21, 99, 99, 99, 99, 99, 99}));
}

TEST(OracleLayouts, CarriesWeightsToRows) {
  Problem p = two_ranks(Layout::kExpertMajor);
  const std::vector<std::vector<float>> weights = {p.ranks[0].weights, p.ranks[1].weights};
  p.alignment = 2;
  std::vector<float> out(5, 99);
  write_row_weights(p, prepare(p).layouts[0], weights, out);
  EXPECT_EQ(out, (std::vector<float>{0.5f, 5, 0.125f, 0, 99}));
  p.layout = Layout::kFlat;
  out.assign(6, 99);
  write_row_weights(p, prepare(p).layouts[0], weights, out);
  EXPECT_EQ(out, (std::vector<float>{0.5f, 0, 0, 0.125f, 0, 5}));
  p.layout = Layout::kRankMajor;
  out.assign(12, 99);
  write_row_weights(p, prepare(p).layouts[0], weights, out);
  EXPECT_EQ(out, (std::vector<float>{0.5f, 0, 0, 0.125f, 99, 99, 0, 5, 99, 99, 99, 99}));
}

TEST(OracleLayouts, MultipliesRowsByTheirWeight) {
  const Problem p = two_ranks(Layout::kExpertMajor);
  const std::vector<std::vector<float>> weights = {p.ranks[0].weights, p.ranks[1].weights};
  const auto x = pack_all(tuttiBfloat16, {{1, 2, 3}, {4}});
  std::vector<uint8_t> out(6);
  write_weighted_rows(p, prepare(p).layouts[0], x, tuttiBfloat16, 1, weights, out);
  EXPECT_EQ(unpack(tuttiBfloat16, out), (std::vector<float>{0.5f, 20, 0.375f}));
}

// What the layout of one rank says it holds.
std::multiset<Assignment> received(const Problem& p, const RankLayout& layout) {
  std::multiset<Assignment> got;
  for (int64_t n = 0; n < layout.rows; ++n) {
    if (layout.row_src[n] < 0) continue;
    const auto src = static_cast<int>(layout.row_src[n] / p.max_tokens);
    const int64_t token = layout.row_src[n] % p.max_tokens;
    if (p.has_expert_rows()) {
      const auto zone =
          std::upper_bound(layout.expert_offset.begin(), layout.expert_offset.end(), n) - 1;
      const int32_t expert = layout.experts[zone - layout.expert_offset.begin()];
      got.insert({src, token, layout.row_slot[n], expert});
      continue;
    }
    for (int k = 0; k < p.topk; ++k) {
      const int32_t slot = layout.row_slot[n * p.topk + k];
      if (slot >= 0) got.insert({src, token, k, layout.experts[slot]});
    }
  }
  return got;
}

TEST(OracleLayouts, EveryKeptAssignmentIsReceivedOnceWhereItsExpertIs) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const Problem p = sound_problem(seed, Limits{});
    const Prepared prepared = prepare(p);
    std::vector<std::multiset<Assignment>> want(p.nranks());
    for (int src = 0; src < p.nranks(); ++src) {
      for (size_t i = 0; i < prepared.routing.kept[src].size(); ++i) {
        const int32_t expert = prepared.routing.kept[src][i];
        const auto slot = static_cast<int64_t>(i);
        if (expert < 0) continue;
        want[p.owner_of(expert)].insert(
            {src, slot / p.topk, static_cast<int>(slot % p.topk), expert});
      }
    }
    for (int r = 0; r < p.nranks(); ++r) {
      ASSERT_EQ(received(p, prepared.layouts[r]), want[r]) << "seed " << seed << " rank " << r;
    }
  }
}

TEST(OracleLayouts, RowsAreInOrderAndZonesHoldWhatIsCounted) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const Problem p = sound_problem(seed, Limits{});
    const Prepared prepared = prepare(p);
    for (const RankLayout& layout : prepared.layouts) {
      std::vector<std::tuple<int64_t, int64_t, int>> order;  // zone, row_src, k
      for (size_t i = 0; i + 1 < layout.expert_offset.size(); ++i) {
        const int64_t first = layout.expert_offset[i];
        const int64_t end = layout.expert_offset[i + 1];
        ASSERT_GE(end - first, layout.expert_count[i]);
        const int alignment = p.layout == Layout::kExpertMajor ? std::max(1, p.alignment) : 1;
        ASSERT_EQ(end % alignment, 0);
        for (int64_t n = first; n < end; ++n) {
          ASSERT_EQ(layout.row_src[n] >= 0, n < first + layout.expert_count[i]);
          if (layout.row_src[n] < 0) continue;
          order.emplace_back(i, layout.row_src[n], layout.row_slot[n]);
        }
      }
      for (int64_t n = 0; n < layout.rows && !p.has_expert_rows(); ++n) {
        if (layout.row_src[n] >= 0) order.emplace_back(0, layout.row_src[n], 0);
      }
      ASSERT_TRUE(std::is_sorted(order.begin(), order.end())) << "seed " << seed;
      ASSERT_EQ(std::adjacent_find(order.begin(), order.end()), order.end()) << "seed " << seed;
    }
  }
}

TEST(OracleLayouts, CountsDoNotDependOnTheLayout) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    Problem p = sound_problem(seed, small_limits());
    p.layout = Layout::kFlat;
    const Prepared flat = prepare(p);
    for (Layout layout : {Layout::kExpertMajor, Layout::kExpertSlab, Layout::kRankMajor}) {
      p.layout = layout;
      const Prepared other = prepare(p);
      for (int r = 0; r < p.nranks(); ++r) {
        EXPECT_EQ(other.layouts[r].expert_count, flat.layouts[r].expert_count);
        EXPECT_EQ(other.layouts[r].want_count, flat.layouts[r].want_count);
        EXPECT_EQ(other.layouts[r].src_count, flat.layouts[r].src_count);
        EXPECT_EQ(flat.layouts[r].rows, flat.layouts[r].recv_tokens);
      }
    }
  }
}

// Other numbers for the same experts: only zones change places.
TEST(OracleLayouts, RelabellingExpertsPermutesZones) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    Problem p = sound_problem(seed, small_limits());
    p.layout = Layout::kExpertMajor;
    p.num_logical = 0;
    for (RankInput& rank : p.ranks) {
      for (int64_t& id : rank.ids) id = id < 0 ? id : id % p.num_experts;
    }
    Problem mirrored = p;
    mirrored.expert_rank.clear();
    for (int e = p.num_experts - 1; e >= 0; --e) mirrored.expert_rank.push_back(p.owner_of(e));
    for (RankInput& rank : mirrored.ranks) {
      for (int64_t& id : rank.ids) id = id < 0 ? id : p.num_experts - 1 - id;
    }
    const Prepared a = prepare(p);
    const Prepared b = prepare(mirrored);
    for (int r = 0; r < p.nranks(); ++r) {
      std::vector<int64_t> count = b.layouts[r].expert_count;
      std::reverse(count.begin(), count.end());
      ASSERT_EQ(a.layouts[r].expert_count, count) << "seed " << seed;
      ASSERT_EQ(a.layouts[r].rows, b.layouts[r].rows) << "seed " << seed;
      const size_t zones = count.size();
      for (size_t i = 0; i < zones; ++i) {
        const auto from = a.layouts[r].row_src.begin() + a.layouts[r].expert_offset[i];
        const auto to = b.layouts[r].row_src.begin() + b.layouts[r].expert_offset[zones - 1 - i];
        ASSERT_TRUE(std::equal(from, from + a.layouts[r].expert_count[i], to)) << "seed " << seed;
      }
    }
  }
}

}  // namespace
}  // namespace tutti::oracle
