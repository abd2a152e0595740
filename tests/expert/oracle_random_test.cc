// The generator reaches what it promises, and says the same every time.
#include <algorithm>
#include <gtest/gtest.h>
#include <set>

#include "tests/expert/oracle_cases.h"

namespace tutti::oracle {
namespace {

constexpr uint64_t kProblems = 2000;

TEST(OracleRandom, OneSeedIsOneProblem) {
  const Problem a = random_problem(5, Limits{});
  const Problem b = random_problem(5, Limits{});
  ASSERT_EQ(a.nranks(), b.nranks());
  for (int r = 0; r < a.nranks(); ++r) {
    EXPECT_EQ(a.ranks[r].ids, b.ranks[r].ids);
    EXPECT_EQ(a.ranks[r].weights, b.ranks[r].weights);
  }
  EXPECT_EQ(Random{1}.next(), 0x910a2dec89025cc1u);  // splitmix64 as published
}

bool has_duplicate(const Problem& p, const RankInput& rank) {
  for (int64_t t = 0; t < rank.tokens; ++t) {
    std::vector<int64_t> row(rank.ids.begin() + t * p.topk, rank.ids.begin() + (t + 1) * p.topk);
    row.erase(std::remove_if(row.begin(), row.end(), [](int64_t id) { return id < 0; }), row.end());
    if (std::set<int64_t>(row.begin(), row.end()).size() < row.size()) return true;
  }
  return false;
}

bool all_to_one(const Problem& p) {
  std::set<int64_t> ids;
  int64_t tokens = 0;
  for (const RankInput& rank : p.ranks) {
    tokens += rank.tokens;
    ids.insert(rank.ids.begin(), rank.ids.end());
  }
  return ids.size() == 1 && *ids.begin() >= 0 && tokens > 4 && p.num_experts > 4;
}

// The oddities of one problem, by name.
std::set<std::string> oddities(const Problem& p) {
  std::set<std::string> seen;
  auto note = [&](bool is, const char* name) {
    if (is) seen.insert(name);
  };
  note(p.nranks() == 1, "one rank");
  note(p.num_experts == 1, "one expert");
  note(p.num_experts < p.nranks(), "fewer experts than ranks");
  note(p.topk == 1, "K = 1");
  note(p.topk > 32, "large K");
  note(p.max_tokens == 0, "maxT = 0");
  note(!p.masked.empty(), "masks");
  note(p.num_logical > 0, "copies");
  note(p.nodes() > 1, "nodes");
  note(p.capacity_mode != CapacityMode::kNone && p.capacity == 0, "capacity 0");
  note(all_to_one(p), "all to one");
  for (int r = 0; r < p.nranks(); ++r) {
    note(p.experts_of(r).empty(), "rank without experts");
    note(p.ranks[r].tokens == 0 && p.max_tokens > 0, "rank without tokens");
    note(has_duplicate(p, p.ranks[r]), "duplicates");
    note(std::count_if(p.ranks[r].ids.begin(), p.ranks[r].ids.end(),
                       [](int64_t id) { return id < 0; }) > 0,
         "masked ids");
  }
  note(p.layout == Layout::kFlat, "flat");
  note(p.layout == Layout::kExpertMajor && p.alignment > 1, "aligned zones");
  note(p.layout == Layout::kExpertSlab, "slab");
  note(p.layout == Layout::kRankMajor, "rank major");
  return seen;
}

TEST(OracleRandom, EveryOddityOccurs) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    seen.merge(oddities(random_problem(seed, Limits{})));
  }
  const std::set<std::string> want = {"one rank",
                                      "one expert",
                                      "fewer experts than ranks",
                                      "K = 1",
                                      "large K",
                                      "maxT = 0",
                                      "masks",
                                      "copies",
                                      "nodes",
                                      "capacity 0",
                                      "all to one",
                                      "rank without experts",
                                      "rank without tokens",
                                      "duplicates",
                                      "masked ids",
                                      "flat",
                                      "aligned zones",
                                      "slab",
                                      "rank major"};
  EXPECT_EQ(seen, want);
}

TEST(OracleRandom, ProblemsAreWellFormedAndWithinTheirLimits) {
  Limits limits = small_limits();
  limits.masks = limits.capacity = limits.logical = false;
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const Problem p = random_problem(seed, limits);
    ASSERT_LE(p.nranks(), limits.max_ranks);
    ASSERT_LE(p.topk, limits.max_topk);
    ASSERT_LE(p.num_experts, limits.max_experts);
    ASSERT_LE(p.max_tokens, limits.max_tokens);
    ASSERT_TRUE(p.masked.empty() && p.num_logical == 0);
    ASSERT_EQ(p.capacity_mode, CapacityMode::kNone);
    const Routing routing = route(p);
    for (tuttiResult_t verdict : routing.verdict) ASSERT_EQ(verdict, tuttiSuccess);
    for (const RankInput& rank : p.ranks) ASSERT_LE(rank.tokens, p.max_tokens);
  }
}

}  // namespace
}  // namespace tutti::oracle
