// What becomes of a routing, and where rows lie, against the oracle.
#include <cstring>
#include <gtest/gtest.h>

#include "tests/expert/oracle_cases.h"
#include "tests/expert/simulated.h"

namespace tutti {
namespace {

using oracle::Prepared;
using oracle::Problem;
using oracle::RankLayout;

// The rows that one rank has laid out, in the oracle's words.
void expect_layout(const Problem& p, const Simulated& got, const RankLayout& want, int rank) {
  const SimulatedRank& me = got.ranks[static_cast<size_t>(rank)];
  ASSERT_EQ(static_cast<int64_t>(me.rows.num_rows), want.rows);
  ASSERT_EQ(me.arrivals.rows, want.recv_tokens);
  for (size_t i = 0; i < want.expert_count.size(); ++i) {
    ASSERT_EQ(me.count[i], want.expert_count[i]) << i;
  }
  for (size_t i = 0; i < want.expert_offset.size(); ++i) {
    ASSERT_EQ(me.offset[i], want.expert_offset[i]) << i;
  }
  std::vector<int64_t> row_src(static_cast<size_t>(want.rows), -1);
  const size_t slots = p.has_expert_rows() ? 1 : static_cast<size_t>(p.topk);
  std::vector<int32_t> row_slot(row_src.size() * slots, -1);
  for (int s = 0; s < p.nranks(); ++s) {
    const uint32_t begin = me.source_rows[static_cast<size_t>(s)];
    const uint32_t end = me.source_rows[static_cast<size_t>(s) + 1];
    ASSERT_EQ(end - begin, want.src_count[static_cast<size_t>(s)]);
    for (uint32_t m = begin; m < end; ++m) {
      for (uint32_t a = me.first[m]; a < me.first[m + 1]; ++a) {
        const uint32_t row = p.has_expert_rows() ? me.row[a] : me.row[m];
        ASSERT_LT(row, row_src.size());
        row_src[row] = s * p.max_tokens + me.token[m];
        if (slots == 1 && p.has_expert_rows()) {
          row_slot[row] = me.k[a];
        } else {
          row_slot[row * slots + me.k[a]] = static_cast<int32_t>(me.expert[a]);
        }
      }
    }
  }
  EXPECT_EQ(row_src, want.row_src);
  EXPECT_EQ(row_slot, want.row_slot);
}

void expect_as_oracle(const Problem& p) {
  const Prepared want = oracle::prepare(p);
  Simulated got(p);
  bool well = true;
  for (int r = 0; r < p.nranks(); ++r) {
    const auto i = static_cast<size_t>(r);
    ASSERT_EQ(static_cast<int>(got.ranks[i].verdict.code()), want.verdict[i])
        << "rank " << r << ": " << got.ranks[i].verdict.text();
    well = well && want.verdict[i] == tuttiSuccess;
  }
  if (!well) return;
  for (int r = 0; r < p.nranks(); ++r) {
    const auto i = static_cast<size_t>(r);
    EXPECT_EQ(got.ranks[i].dropped, static_cast<uint64_t>(want.routing.dropped[i]));
    if (p.is_masked(r)) continue;
    EXPECT_EQ(got.ranks[i].experts, want.routing.kept[i]);
    EXPECT_EQ(rows_needed_at(got.shape(), got.placement(), got.counts(), r),
              static_cast<uint64_t>(want.layouts[i].rows));
    SCOPED_TRACE("rank " + std::to_string(r));
    expect_layout(p, got, want.layouts[i], r);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ExpertRouting, AsTheOracleSays) {
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_as_oracle(oracle::random_problem(seed, oracle::small_limits()));
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ExpertRouting, LargeOnesToo) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_as_oracle(oracle::random_problem(seed, {}));
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ExpertRouting, BoundsOnRowsGiveTheSameVerdictEverywhere) {
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Problem p = oracle::random_problem(seed, oracle::small_limits());
    p.max_recv_rows = 1 + static_cast<int64_t>(seed % 40);
    expect_as_oracle(p);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ExpertRouting, AnIdOutOfRangeIsNamed) {
  Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  p.ranks[1].ids[1] = 4;
  expect_as_oracle(p);
  Simulated got(p);
  EXPECT_EQ(got.ranks[1].verdict.text(),
            "topk_idx[0][1]: expected an expert below 4 or a negative number, got 4");
  EXPECT_EQ(got.ranks[0].verdict.text(), "rank 1: Prepare has failed there: invalid argument");
}

TEST(ExpertRouting, WhatDiffersBetweenRanksIsNamed) {
  const Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  Simulated got(p);
  got.counts().of(1).header().topk = 3;
  int culprit = -1;
  const Status status = check_headers(got.counts(), {}, 0, Status(), &culprit);
  EXPECT_EQ(culprit, 1);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.text(), "num_topk: expected the same on all ranks, got 2 here and 3 on rank 1");
}

TEST(ExpertPlacement, RefusesWhatIsOutOfRange) {
  PlacementConfig c;
  c.nranks = 2;
  c.num_experts = 3;
  const int32_t ranks[] = {0, 2, 1};
  c.expert_rank = ranks;
  EXPECT_EQ(Placement::make(c).status().text(), "expert_rank[1]: expected a rank of 0 to 1, got 2");
  c.expert_rank = nullptr;
  c.num_logical = 2;
  const int32_t logical[] = {0, 0, 0};
  c.phys_to_log = logical;
  EXPECT_EQ(Placement::make(c).status().text(),
            "phys_to_log: expected a physical expert for every logical one, got none for 1");
}

// A peer's word is not trusted.
TEST(ExpertArrivals, RefuseWhatIsOutOfOrder) {
  std::vector<uint32_t> source_rows(2), token(4), first(5), expert(4);
  std::vector<uint8_t> k(4);
  const auto add = [&](std::vector<RoutedAssignment> routed) {
    Arrivals arrivals{source_rows, token, first, k, expert, {}};
    arrivals.clear();
    return arrivals
        .add(0, 10, 2, 3, reinterpret_cast<const std::byte*>(routed.data()), routed.size())
        .code();
  };
  EXPECT_EQ(add({{0, 2}, {0, 1u << 24}, {9, 0}}), Code::kOk);
  EXPECT_EQ(add({{1, 0}, {0, 0}}), Code::kRemoteError) << "tokens fall";
  EXPECT_EQ(add({{1, 1u << 24}, {1, 0}}), Code::kRemoteError) << "k falls";
  EXPECT_EQ(add({{10, 0}}), Code::kRemoteError) << "no such token";
  EXPECT_EQ(add({{0, 2u << 24}}), Code::kRemoteError) << "no such k";
  EXPECT_EQ(add({{0, 3}}), Code::kRemoteError) << "no such expert";
  EXPECT_EQ(add({{0, 0}, {1, 0}, {2, 0}, {3, 0}, {4, 0}}), Code::kRemoteError) << "too many";
}

// Every rank of a node that needs a token finds the entry that the token's rank finds.
TEST(ExpertEntries, AreTheSameForAllAndBalanced) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Problem p = oracle::sound_problem(seed, {});
    p.ranks_per_node = 1 + static_cast<int>(seed % 3);
    const Simulated got(p);
    for (int r = 0; r < p.nranks(); ++r) {
      const SimulatedRank& me = got.ranks[static_cast<size_t>(r)];
      if (me.arrival_entries.words == 0) continue;
      for (int s = 0; s < p.nranks(); ++s) {
        const SimulatedRank& source = got.ranks[static_cast<size_t>(s)];
        const uint32_t out = source.rank_rows[static_cast<size_t>(r)];
        const uint32_t in = me.source_rows[static_cast<size_t>(s)];
        const uint32_t rows = me.source_rows[static_cast<size_t>(s) + 1] - in;
        for (uint32_t i = 0; i < rows; ++i) {
          const uint32_t entry = me.in_entry[in + i];
          ASSERT_EQ(entry, source.out_entry[out + i]);
          ASSERT_EQ(p.node_of(static_cast<int>(entry)), p.node_of(r));
        }
      }
    }
  }
}

TEST(ExpertEntries, TakeTurns) {
  PlacementConfig c;
  c.nranks = 40;
  c.ranks_per_node = 36;
  c.num_experts = 40;
  const Placement placement = Placement::make(c).value();
  const uint32_t mates[] = {1u << 3 | 1u << 31, 1u << 2};
  std::vector<int> times(40);
  for (uint32_t t = 0; t < 3000; ++t)
    ++times[static_cast<size_t>(entry_of(placement, 39, t, 0, mates))];
  for (const size_t r : {3u, 31u, 34u}) EXPECT_NEAR(times[r], 1000, 120) << r;
}

// A peer's word is not trusted.
TEST(ExpertEntries, RefuseMatesThatCannotBe) {
  oracle::Problem p = oracle::one_token({0, 1, 2}, {1, 2, 3}, oracle::Layout::kFlat);
  p.ranks[0].weights = {1, 1, 1};
  p.ranks_per_node = 2;
  Simulated got(p);
  SimulatedRank& me = got.ranks[2];
  const auto take = [&](uint32_t mask) {
    std::byte wire[sizeof(mask)];
    std::memcpy(wire, &mask, sizeof(mask));
    return take_entries(got.placement(), 2, 0, me.arrivals, wire, &me.arrival_entries);
  };
  EXPECT_TRUE(take(3).ok());
  EXPECT_EQ(take(2).code(), Code::kRemoteError) << "not this rank";
  EXPECT_EQ(take(5).code(), Code::kRemoteError) << "no such rank";
  EXPECT_EQ(take(2).text(),
            "rank 0: token 0: expected rank 2 among 2 ranks of its node, got others");
}

}  // namespace
}  // namespace tutti
