// Traffic by hand, and what must hold of it on any routing.
#include <gtest/gtest.h>
#include <set>

#include "tests/expert/oracle_cases.h"

namespace tutti::oracle {
namespace {

using Tiers = std::array<int64_t, 3>;

constexpr uint64_t kProblems = 300;

// Two nodes of two ranks, expert e on rank e; one token of rank 0 goes to `ids`.
Problem two_nodes(std::vector<int64_t> ids) {
  Problem p;
  p.topk = static_cast<int>(ids.size());
  p.max_tokens = 1;
  p.num_experts = 4;
  p.ranks_per_node = 2;
  p.ranks.resize(4);
  p.ranks[0] = {1, std::move(ids), {}};
  p.layout = Layout::kExpertMajor;
  return p;
}

TEST(OracleTraffic, DirectSendsARowToEveryDistinctRank) {
  const Problem p = two_nodes({0, 1, 3, 2, 3});
  const auto ranks = dispatch_traffic(p, route(p), Algorithm::kDirect, 10);
  EXPECT_EQ(ranks[0].rows, (Tiers{1, 1, 2}));
  EXPECT_EQ(ranks[0].bytes, (Tiers{10, 10, 20}));
  EXPECT_EQ(ranks[2].rows, (Tiers{0, 0, 0}));
}

TEST(OracleTraffic, HierarchicalSendsARowToEveryDistinctNode) {
  const Problem p = two_nodes({0, 1, 3, 2, 3});
  const auto ranks = dispatch_traffic(p, route(p), Algorithm::kHier, 10);
  EXPECT_EQ(ranks[0].rows, (Tiers{1, 1, 1}));
  EXPECT_EQ(ranks[2].rows, (Tiers{0, 1, 0}));
  EXPECT_EQ(ranks[3].rows, (Tiers{0, 0, 0}));
  const Problem one = two_nodes({3});  // rank 3 is the door then
  EXPECT_EQ(dispatch_traffic(one, route(one), Algorithm::kHier, 10)[0].rows, (Tiers{0, 0, 1}));
}

TEST(OracleTraffic, CombineSendsWhatItsReductionNeeds) {
  const Problem p = two_nodes({0, 1, 3, 2, 3});
  const auto slot = combine_traffic(p, route(p), Reduce::kSlot, 10);
  EXPECT_EQ(slot[0].rows, (Tiers{1, 0, 0}));
  EXPECT_EQ(slot[1].rows, (Tiers{0, 1, 0}));
  EXPECT_EQ(slot[3].rows, (Tiers{0, 0, 2}));
  EXPECT_EQ(total(combine_traffic(p, route(p), Reduce::kRank, 10)).rows, (Tiers{1, 1, 2}));
  const auto node = combine_traffic(p, route(p), Reduce::kNode, 10);
  EXPECT_EQ(node[1].rows, (Tiers{0, 1, 0}));
  EXPECT_EQ(node[2].rows, (Tiers{0, 0, 1}));
  EXPECT_EQ(node[3].rows, (Tiers{0, 1, 0}));
  EXPECT_EQ(total(node).bytes, (Tiers{10, 20, 10}));
}

TEST(OracleTraffic, AutoDependsOnTheNumberOfNodes) {
  Problem p = two_nodes({0});
  EXPECT_EQ(auto_algorithm(p), Algorithm::kHier);
  EXPECT_EQ(auto_reduce(p), Reduce::kNode);
  p.ranks_per_node = 4;
  EXPECT_EQ(auto_algorithm(p), Algorithm::kDirect);
  EXPECT_EQ(auto_reduce(p), Reduce::kRank);
}

TEST(OracleTraffic, FlatRowsComeBackOnce) {
  Problem p = two_nodes({3, 3, 2});
  p.layout = Layout::kFlat;
  EXPECT_EQ(total(combine_traffic(p, route(p), Reduce::kSlot, 1)).rows, (Tiers{0, 0, 2}));
}

int64_t all_rows(const Traffic& t) { return t.rows[0] + t.rows[1] + t.rows[2]; }

// Counted another way: from what arrives.
TEST(OracleTraffic, EveryReceivedTokenWasSentOnce) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const Problem p = sound_problem(seed, small_limits());
    const Prepared prepared = prepare(p);
    const Traffic direct = total(dispatch_traffic(p, prepared.routing, Algorithm::kDirect, 3));
    const Traffic hier = total(dispatch_traffic(p, prepared.routing, Algorithm::kHier, 3));
    Tiers received{};
    for (int r = 0; r < p.nranks(); ++r) {
      for (int src = 0; src < p.nranks(); ++src) {
        const int tier = src == r ? 0 : p.node_of(src) == p.node_of(r) ? 1 : 2;
        received[tier] += prepared.layouts[r].src_count[src];
      }
    }
    EXPECT_EQ(direct.rows, received) << "seed " << seed;
    EXPECT_EQ(all_rows(hier), all_rows(direct)) << "seed " << seed;
    EXPECT_LE(hier.rows[2], direct.rows[2]) << "seed " << seed;
    EXPECT_EQ(hier.rows[0], direct.rows[0]) << "seed " << seed;
    EXPECT_EQ(hier.bytes[2], 3 * hier.rows[2]) << "seed " << seed;
  }
}

TEST(OracleTraffic, RowsBetweenNodesAreDistinctForeignNodes) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const Problem p = sound_problem(seed, small_limits());
    const Routing routing = route(p);
    int64_t nodes = 0;
    for (int src = 0; src < p.nranks(); ++src) {
      std::set<std::pair<int64_t, int>> seen;  // token, node
      for (size_t i = 0; i < routing.kept[src].size(); ++i) {
        if (routing.kept[src][i] < 0) continue;
        const int node = p.node_of(p.owner_of(routing.kept[src][i]));
        if (node != p.node_of(src)) seen.emplace(static_cast<int64_t>(i) / p.topk, node);
      }
      nodes += static_cast<int64_t>(seen.size());
    }
    EXPECT_EQ(total(dispatch_traffic(p, routing, Algorithm::kHier, 1)).rows[2], nodes);
    EXPECT_EQ(total(combine_traffic(p, routing, Reduce::kNode, 1)).rows[2], nodes);
  }
}

// What comes back is what went out, mirrored; SLOT brings all assignments.
TEST(OracleTraffic, CombineMirrorsDispatch) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    Problem p = sound_problem(seed, small_limits());
    p.layout = Layout::kExpertMajor;
    const Routing routing = route(p);
    EXPECT_EQ(total(combine_traffic(p, routing, Reduce::kRank, 2)).bytes,
              total(dispatch_traffic(p, routing, Algorithm::kDirect, 2)).bytes);
    EXPECT_EQ(total(combine_traffic(p, routing, Reduce::kNode, 2)).bytes,
              total(dispatch_traffic(p, routing, Algorithm::kHier, 2)).bytes);
    int64_t kept = 0;
    for (const auto& keep : routing.keep) kept += std::count(keep.begin(), keep.end(), 1);
    EXPECT_EQ(all_rows(total(combine_traffic(p, routing, Reduce::kSlot, 2))), kept);
  }
}

}  // namespace
}  // namespace tutti::oracle
