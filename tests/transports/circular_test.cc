// The room for copied payloads: what is in use is never given out again, and all of it comes back.
#include "transports/ring/circular.h"

#include <deque>
#include <gtest/gtest.h>
#include <random>

namespace tutti {
namespace {

struct Stretch {
  uint64_t number;
  uint64_t at;  // kNone: its message went another way
  size_t bytes;
};

class Circular : public testing::TestWithParam<std::pair<uint64_t, uint64_t>> {};

// Sizes from one line to a quarter; readers that are sometimes far behind, sometimes close.
TEST_P(Circular, NeverGivesOutWhatIsInUse) {
  const auto [size, start] = GetParam();
  CircularRoom room(size, start, 0);
  std::minstd_rand random(7);
  std::deque<Stretch> outstanding;
  uint64_t number = 0;
  int refused = 0;
  for (int i = 0; i < 200'000; ++i) {
    const size_t most = random() % 3 == 0 ? kRingSlots - 1 : 4;
    while (outstanding.size() > most) outstanding.pop_front();
    const uint64_t consumed = outstanding.empty() ? number : outstanding.front().number;
    Stretch s{number++, CircularRoom::kNone, 1 + random() % (size / 4)};
    // Also rows of messages that take none, longer than the ring.
    if (random() % 5 != 0 && i / 100 % 7 != 0) {
      s.at = room.take(s.number, consumed, s.bytes);
      if (s.at == CircularRoom::kNone) {
        ++refused;
      } else {
        ASSERT_EQ(s.at % kRingLine, 0u);
        ASSERT_LE(s.at + s.bytes, size);
      }
      for (const Stretch& other : outstanding) {
        if (s.at == CircularRoom::kNone || other.at == CircularRoom::kNone) continue;
        ASSERT_TRUE(s.at + s.bytes <= other.at || other.at + other.bytes <= s.at) << i;
      }
    }
    outstanding.push_back(s);
    if (random() % 2 == 0) outstanding.pop_front();
  }
  EXPECT_GT(refused, 0);
  // With nothing outstanding a quarter always fits.
  for (int i = 0; i < 100; ++i, ++number) {
    EXPECT_NE(room.take(number, number, size / 4), CircularRoom::kNone);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Circular,
                         testing::Values(std::pair<uint64_t, uint64_t>{kSpillBytes, 0},
                                         std::pair{kSpillBytes, RingPair::spill_start(1)},
                                         std::pair<uint64_t, uint64_t>{64 << 10, 0}));

TEST(Circular, BeginsWhereItIsTold) {
  CircularRoom room(kSpillBytes, RingPair::spill_start(1), 0);
  EXPECT_EQ(room.take(0, 0, 1), RingPair::spill_start(1));
  EXPECT_EQ(room.take(1, 0, RingPair::kSpillShare - kRingLine), kSpillBytes - 1984);
  EXPECT_EQ(room.take(2, 0, 1), 0u) << "round";
}

// An end that is opened again does not know what its messages hold that are still to be read.
TEST(Circular, NothingIsFreeUntilEarlierMessagesAreConsumed) {
  for (const uint64_t first : {1, 40, 1000}) {
    CircularRoom room(kSpillBytes, 0, first);
    EXPECT_EQ(room.take(first, first - 1, 1), CircularRoom::kNone);
    EXPECT_EQ(room.take(first + 3, first - 1, 1), CircularRoom::kNone);
    EXPECT_NE(room.take(first + 4, first, kSpillBytes), CircularRoom::kNone);
    EXPECT_EQ(room.take(first + 5, first, 1), CircularRoom::kNone);
    EXPECT_NE(room.take(first + 6, first + 5, 1), CircularRoom::kNone);
  }
}

}  // namespace
}  // namespace tutti
