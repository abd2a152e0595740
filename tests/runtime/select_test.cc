// Which algorithm runs a call.
#include "comm/runtime/select.h"

#include <cstring>
#include <gtest/gtest.h>

namespace tutti {
namespace {

TEST(Select, EveryCallHasAnAlgorithm) {
  const Config none;
  for (int c = 0; c < kNumCollectives; ++c) {
    const auto collective = static_cast<Collective>(c);
    for (size_t bytes : {size_t{0}, size_t{1}, size_t{4096}, size_t{1} << 20, size_t{1} << 40}) {
      for (int n : {1, 2, 3, 8, 1000, 10'240}) {
        for (bool known : {true, false}) {
          const Choice choice = select(none, collective, bytes, n, known);
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
    EXPECT_EQ(select(config, a.collective, 100, 4, true).algorithm, &a);
    const Algorithm* without = select(config, a.collective, 100, 4, false).algorithm;
    EXPECT_EQ(without == &a, !a.needs_all_counts) << a.name;
    const auto other =
        a.collective == Collective::kBarrier ? Collective::kReduce : Collective::kBarrier;
    EXPECT_EQ(select(config, other, 100, 4, true).algorithm->collective, other);
  }
}

TEST(Select, ShortAllReducesTakeOneStep) {
  EXPECT_STREQ(select({}, Collective::kAllReduce, 8, 2, true).algorithm->name, "one_shot");
  EXPECT_STREQ(select({}, Collective::kAllReduce, 1 << 20, 2, true).algorithm->name, "two_shot");
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
