// Peers whose word is not to be trusted: what they announce, and what they tell after it.
#include "comm/expert/announced.h"

#include <gtest/gtest.h>

namespace tutti {
namespace {

// Two ranks, experts 0 1 | 2 3, K = 2, at most 3 tokens: what rank 0 hears.
class Heard {
 public:
  Heard() {
    shape.layout = ExpertLayout::kExpertSlab;
    shape.topk = 2;
    shape.max_tokens = 3;
    shape.zone_rows = 3;
    PlacementConfig config;
    config.nranks = 2;
    config.num_experts = 4;
    placement = Placement::make(config).value();
    memory.resize(2 * ExpertCounts::bytes(4, 2) / sizeof(uint64_t));
    for (int r = 0; r < 2; ++r) all().of(r).header() = header_of(shape, 3, false, Code::kOk);
    // Rank 1: tokens 0 and 2 to expert 0, token 2 to expert 1.
    all().of(1).assignments()[0] = 2;
    all().of(1).assignments()[1] = 1;
    all().of(1).tokens()[0] = 2;
  }
  AllCounts all() { return {reinterpret_cast<std::byte*>(memory.data()), 4, 2}; }
  Status announced() { return check_announced(shape, placement, all(), 0); }
  // Rank 0 has nothing for itself.
  Status told(const std::vector<RoutedAssignment>& routed) {
    std::vector<uint32_t> source_rows(3), token(6), first(7), expert(12), row(12), count(2);
    std::vector<uint8_t> k(12);
    std::vector<int64_t> offset(3);
    Arrivals arrivals{source_rows, token, first, k, expert, {}};
    arrivals.clear();
    TUTTI_TRY(arrivals.add(0, 3, 2, 2, nullptr, 0));
    TUTTI_TRY(
        arrivals.add(1, 3, 2, 2, reinterpret_cast<const std::byte*>(routed.data()), routed.size()));
    RowsOfArrivals rows{row, count, offset};
    lay_out(shape, 2, arrivals, &rows);
    return check_told(placement, all(), 0, arrivals, rows);
  }

  ExpertShape shape;
  Placement placement;
  std::vector<uint64_t> memory;
};

testing::AssertionResult refused(const Status& status, const std::string& words) {
  if (status.code() == Code::kRemoteError && status.text().find(words) != std::string::npos) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << code_name(status.code()) << ": " << status.text();
}

constexpr uint32_t kSecond = 1u << 24;  // k = 1

TEST(ExpertAnnounced, WhatFitsIsTaken) {
  Heard heard;
  EXPECT_TRUE(heard.announced().ok());
  EXPECT_TRUE(heard.told({{0, 0}, {2, 0}, {2, kSecond | 1}}).ok());
}

TEST(ExpertAnnounced, MoreThanThereCanBeIsRefused) {
  Heard tokens;
  tokens.all().of(1).header().tokens = 4;
  EXPECT_TRUE(refused(tokens.announced(), "rank 1: expected at most 3 tokens, got 4"));
  Heard assignments;
  assignments.all().of(1).assignments()[1] = 5;
  EXPECT_TRUE(refused(assignments.announced(), "at most 6 assignments"));
  // Sums of 32 bits would be small again.
  assignments.all().of(1).assignments()[0] = UINT32_MAX;
  EXPECT_TRUE(refused(assignments.announced(), "got 4294967300 and 2"));
  Heard rows;
  rows.all().of(1).tokens()[0] = 4;
  EXPECT_TRUE(refused(rows.announced(), "got 3 and 4"));
}

TEST(ExpertAnnounced, AnythingElseThanWasAnnouncedIsRefused) {
  Heard heard;
  // Three for expert 1, whose slab others have been told is for one.
  EXPECT_TRUE(refused(heard.told({{0, 1}, {1, 1}, {2, 1}}), "expert 0: expected 2 assignments"));
  // The right experts, by three tokens.
  EXPECT_TRUE(refused(heard.told({{0, 0}, {1, 0}, {2, 1}}), "rank 1: expected at most 2 tokens"));
}

}  // namespace
}  // namespace tutti
