// Which algorithm runs a call.
#include "comm/runtime/select.h"

#include <cstring>
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <utility>

namespace tutti {
namespace {

constexpr auto kCores = MachineClass::kCores;
constexpr auto kCrowded = MachineClass::kCrowded;

TEST(Select, EveryCallHasAnAlgorithm) {
  const Config none;
  for (int c = 0; c < kNumCollectives; ++c) {
    const auto collective = static_cast<Collective>(c);
    for (size_t bytes : {size_t{0}, size_t{1}, size_t{4096}, size_t{1} << 20, size_t{1} << 40}) {
      for (int n : {1, 2, 3, 8, 1000, 10'240}) {
        for (auto [machine, known] :
             {std::pair(kCores, true), {kCores, false}, {kCrowded, true}, {kCrowded, false}}) {
          const Choice choice = select(none, machine, collective, bytes, n, known);
          ASSERT_NE(choice.algorithm, nullptr);
          EXPECT_EQ(choice.algorithm->collective, collective);
          EXPECT_GE(choice.pieces, 1);
          EXPECT_TRUE(known || !choice.algorithm->needs_all_counts);
        }
      }
    }
  }
}

TEST(Select, SettingsWinWhereTheyCan) {
  for (const Algorithm& a : catalog()) {
    Config config;
    config.algorithms = {{name_of(a.collective), a.name}};
    ASSERT_TRUE(check_algorithms(config).ok());
    EXPECT_EQ(select(config, kCores, a.collective, 100, 4, true).algorithm, &a);
    const Algorithm* without = select(config, kCores, a.collective, 100, 4, false).algorithm;
    EXPECT_EQ(without == &a, !a.needs_all_counts) << a.name;
    const auto other =
        a.collective == Collective::kBarrier ? Collective::kReduce : Collective::kBarrier;
    EXPECT_EQ(select(config, kCores, other, 100, 4, true).algorithm->collective, other);
  }
}

TEST(Select, ShortAllReducesTakeOneStep) {
  for (const MachineClass machine : {kCores, kCrowded}) {
    const auto name = [&](size_t bytes) {
      return select({}, machine, Collective::kAllReduce, bytes, 2, true).algorithm->name;
    };
    EXPECT_STREQ(name(8), "one_shot");
    EXPECT_STREQ(name(1 << 20), "two_shot");
  }
}

TEST(SelectionTable, EveryRowNamesAnAlgorithmOfItsCollective) {
  for (const SelectionRow& row : selection_table()) {
    EXPECT_NE(find_algorithm(row.collective, row.algorithm), nullptr)
        << name_of(row.collective) << ' ' << row.algorithm;
  }
}

// A row that earlier rows leave nothing for says something that is not so.
TEST(SelectionTable, EveryRowDecidesSomeCall) {
  for (const SelectionRow& row : selection_table()) {
    const SelectionRow* first = nullptr;
    for (const SelectionRow& other : selection_table()) {
      const bool covers = other.machine == row.machine && other.collective == row.collective &&
                          other.most_ranks >= row.most_ranks && other.most_bytes >= row.most_bytes;
      if (covers && first == nullptr) first = &other;
    }
    EXPECT_EQ(first, &row) << name_of(row.machine) << ' ' << name_of(row.collective) << ' '
                           << row.most_ranks << ' ' << row.most_bytes;
  }
}

TEST(SelectionTable, IsCompleteForEveryClassAndCollective) {
  std::set<std::pair<MachineClass, Collective>> complete;
  for (const SelectionRow& row : selection_table()) {
    if (row.most_ranks == kAnyRanks && row.most_bytes == kAnyBytes) {
      complete.insert({row.machine, row.collective});
    }
  }
  EXPECT_EQ(complete.size(), static_cast<size_t>(kNumMachineClasses * kNumCollectives));
}

TEST(SelectionTable, DecidesAtItsBounds) {
  for (const SelectionRow& row : selection_table()) {
    const int n = row.most_ranks == kAnyRanks ? 10'240 : row.most_ranks;
    const size_t bytes = row.most_bytes == kAnyBytes ? size_t{1} << 40 : row.most_bytes;
    const Algorithm* chosen = select({}, row.machine, row.collective, bytes, n, true).algorithm;
    EXPECT_STREQ(chosen->name, row.algorithm)
        << name_of(row.collective) << ' ' << n << ' ' << bytes;
  }
}

TEST(SelectionTable, TheClassOfTheMachineDecides) {
  const auto name = [](MachineClass machine, int nranks, size_t bytes) {
    return std::string(
        select({}, machine, Collective::kBroadcast, bytes, nranks, true).algorithm->name);
  };
  EXPECT_EQ(name(kCores, 2, 8 << 20), "chain");
  EXPECT_EQ(name(kCrowded, 2, 8 << 20), "direct");
  EXPECT_EQ(name(kCores, 8, 2 << 20), "direct");
  EXPECT_EQ(name(kCrowded, 8, 2 << 20), "scatter_all_gather");
  EXPECT_EQ(name(kCrowded, 4, 2 << 20), "chain");
  EXPECT_EQ(name(kCrowded, 4, 8), "direct");
}

// Where a round costs the turn of the others on a core.
TEST(SelectionTable, CrowdedRanksMeetAtOne) {
  const auto name = [](MachineClass machine, Collective collective, int nranks, size_t bytes) {
    return std::string(select({}, machine, collective, bytes, nranks, true).algorithm->name);
  };
  EXPECT_EQ(name(kCrowded, Collective::kBarrier, 32, 0), "central");
  EXPECT_EQ(name(kCrowded, Collective::kBarrier, 33, 0), "dissemination");
  EXPECT_EQ(name(kCores, Collective::kBarrier, 8, 0), "dissemination");
  EXPECT_EQ(name(kCrowded, Collective::kAllReduce, 8, 4096), "one_shot");
  EXPECT_EQ(name(kCrowded, Collective::kAllReduce, 8, 4100), "central");
  EXPECT_EQ(name(kCrowded, Collective::kAllReduce, 8, 32 << 10), "central");
  EXPECT_EQ(name(kCrowded, Collective::kAllReduce, 8, 64 << 10), "two_shot");
  EXPECT_EQ(name(kCrowded, Collective::kAllReduce, 4, 32 << 10), "two_shot");
  EXPECT_EQ(name(kCores, Collective::kAllReduce, 8, 32 << 10), "two_shot");
}

TEST(Select, RoundsOnlyOfWhatTheTableNames) {
  const auto bytes_of = [](const Config& config, MachineClass machine, Collective collective,
                           bool known) {
    return select(config, machine, collective, 8 << 20, 2, known).round_bytes;
  };
  constexpr size_t kMi = size_t{1} << 20;
  EXPECT_EQ(bytes_of({}, kCores, Collective::kAllReduce, true), 2 * kMi);
  EXPECT_EQ(bytes_of({}, kCores, Collective::kReduce, true), 2 * kMi);
  EXPECT_EQ(bytes_of({}, kCores, Collective::kAllGather, true), kMi / 2);
  EXPECT_EQ(bytes_of({}, kCores, Collective::kBroadcast, true), kAnyBytes);
  EXPECT_EQ(bytes_of({}, kCrowded, Collective::kAllGather, true), kAnyBytes);
  EXPECT_EQ(bytes_of({}, kCores, Collective::kAllToAll, false), kAnyBytes)
      << "ranks that do not know each other's blocks cannot agree on rounds";
  Config config;
  config.threads = 2;
  EXPECT_EQ(bytes_of(config, kCores, Collective::kAllReduce, true), kAnyBytes)
      << "threads share long kernels only";
  config.threads = 1;
  config.algorithms = {{"all_reduce", "ring"}, {"all_gather", "direct"}};
  EXPECT_EQ(bytes_of(config, kCores, Collective::kAllReduce, true), kAnyBytes);
  EXPECT_EQ(bytes_of(config, kCores, Collective::kAllGather, true), kMi / 2)
      << "what the table says, said by a setting";
}

TEST(Select, NamesAreChecked) {
  Config config;
  config.algorithms = {{"all_reduce", "nonsense"}};
  Status status = check_algorithms(config);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.text().find("two_shot"), std::string::npos);
  EXPECT_NE(status.text().find("nonsense"), std::string::npos);
  config.algorithms = {{"nothing", "ring"}};
  status = check_algorithms(config);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.text().find("nothing"), std::string::npos);
}

// Rounds follow from it, so no rank, in place or not, may need more.
TEST(Select, ScratchBoundHoldsForEveryRank) {
  for (const Algorithm& a : catalog()) {
    if (a.collective == Collective::kAllToAll) {
      EXPECT_EQ(scratch_slots_bound(a, 8), 0u);
      continue;
    }
    for (int n = 1; n <= 40; ++n) {
      const uint32_t bound = scratch_slots_bound(a, n);
      for (int rank = 0; rank < n; ++rank) {
        for (int root : {0, 1, n / 2, n - 1}) {
          for (int in_place = 0; in_place < 2; ++in_place) {
            if (root >= n) continue;
            Params params;
            params.nranks = n;
            params.rank = rank;
            params.root = root;
            params.in_place = in_place != 0;
            Schedule s;
            make_schedule(a, params, &s);
            ASSERT_LE(s.shape.scratch_slots, bound)
                << name_of(a.collective) << ' ' << a.name << " rank " << rank << " of " << n
                << " root " << root << (in_place ? " in place" : "");
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace tutti
