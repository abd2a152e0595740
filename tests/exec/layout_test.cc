// Where chunks lie: every element of every block in exactly one chunk of one round, in order, cut
// at cache lines, and never more at a time than the scratch holds or the caller wants.
#include "comm/exec/layout.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace tutti {
namespace {

struct Case {
  BlockList input;
  BlockList output;
  uint32_t chunks;
  size_t element;
  uint32_t slots;
  size_t cap;
  size_t most = SIZE_MAX;
};

// Walks one buffer round by round and block by block.
void expect_covered(const Case& c, const DataLayout& layout, Buffer buffer) {
  const BlockList& blocks = buffer == Buffer::kInput ? c.input : c.output;
  for (uint32_t b = 0; b < blocks.num; ++b) {
    size_t at = blocks.start(b) * c.element;
    for (uint32_t round = 0; round < layout.rounds(); ++round) {
      for (uint32_t k = 0; k < c.chunks; ++k) {
        const Extent e = layout.chunk(buffer, b * c.chunks + k, round);
        EXPECT_LE(e.bytes, layout.slot_bytes());
        EXPECT_EQ(e.bytes % c.element, 0u);
        if (e.bytes == 0) continue;
        EXPECT_EQ(e.offset, at) << "block " << b << " round " << round << " chunk " << k;
        // Only the last chunk of a block's share is short.
        const bool more =
            k + 1 < c.chunks && layout.chunk(buffer, b * c.chunks + k + 1, round).bytes > 0;
        EXPECT_TRUE(!more || e.bytes % 64 == 0);
        at += e.bytes;
      }
    }
    EXPECT_EQ(at, (blocks.start(b) + blocks.count(b)) * c.element) << "block " << b;
  }
}

void expect_sound(const Case& c) {
  const DataLayout layout(c.input, c.output, c.chunks, c.element, c.slots, c.cap, c.most);
  EXPECT_GE(layout.rounds(), 1u);
  EXPECT_EQ(layout.element_bytes(), c.element);
  expect_covered(c, layout, Buffer::kInput);
  expect_covered(c, layout, Buffer::kOutput);
  EXPECT_TRUE(c.slots > 0 || c.most != SIZE_MAX || layout.rounds() == 1);
  // At least one line a slot, whatever the caps say.
  const size_t most = std::max<size_t>(c.cap, size_t{64} * c.slots);
  EXPECT_TRUE(layout.rounds() == 1 || layout.slot_bytes() * c.slots <= most);
  EXPECT_LE(layout.slot_bytes(), std::max<size_t>(c.most, 64));
}

TEST(DataLayout, EqualBlocks) {
  for (size_t element : {size_t{1}, size_t{2}, size_t{4}, size_t{8}}) {
    for (uint32_t chunks : {1u, 2u, 3u, 7u, 64u}) {
      for (size_t each : {size_t{0}, size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{63},
                          size_t{64}, size_t{65}, size_t{1000}, size_t{4096}, size_t{10'007}}) {
        for (uint32_t slots : {0u, 1u, 5u}) {
          for (size_t cap : {size_t{0}, size_t{64}, size_t{1000}, size_t{4096}, size_t{1} << 30}) {
            SCOPED_TRACE(testing::Message() << element << " bytes x " << each << " in " << chunks
                                            << ", slots " << slots << ", cap " << cap);
            expect_sound({{1, each, {}, {}}, {4, each, {}, {}}, chunks, element, slots, cap});
          }
        }
      }
    }
  }
}

TEST(DataLayout, BlocksThatDiffer) {
  const std::vector<std::vector<size_t>> lists = {
      {0, 0, 0}, {1, 0, 200}, {1000, 3, 64}, {17, 5003, 0, 1}, {100, 100}};
  for (const auto& counts : lists) {
    for (uint32_t chunks : {1u, 3u}) {
      for (size_t cap : {size_t{64}, size_t{4096}, size_t{1} << 30}) {
        std::vector<size_t> displs;
        size_t at = 9;
        for (size_t c : counts) {
          displs.push_back(at);
          at += c + 13;
        }
        const BlockList list{static_cast<uint32_t>(counts.size()), 0, counts, displs};
        expect_sound({{1, counts[0], {}, {}}, list, chunks, 4, 3, cap});
        expect_sound({list, {1, counts[0], {}, {}}, chunks, 4, 0, cap});
      }
    }
  }
}

TEST(DataLayout, ChunksOfAtMost) {
  const BlockList uneven{3, 0, {5000, 0, 17}, {3, 6000, 7000}};
  for (const size_t most : {size_t{0}, size_t{64}, size_t{1000}, size_t{4096}}) {
    for (const uint32_t chunks : {1u, 2u, 5u}) {
      for (const uint32_t slots : {0u, 3u}) {
        SCOPED_TRACE(testing::Message() << most << " bytes, " << chunks << " chunks, " << slots);
        for (const size_t each : {size_t{0}, size_t{250}, size_t{10'007}}) {
          expect_sound({{1, each, {}, {}}, {2, each, {}, {}}, chunks, 4, slots, 8192, most});
        }
        expect_sound({{1, 5000, {}, {}}, uneven, chunks, 4, slots, 8192, most});
      }
    }
  }
  const BlockList whole{1, 1 << 20, {}, {}};
  const DataLayout layout(whole, whole, 2, 4, 0, 0, 512 << 10);
  EXPECT_EQ(layout.rounds(), 4u);
  EXPECT_EQ(layout.slot_bytes(), size_t{512} << 10);
}

// Both buffers run in the rounds of the larger one: a chunk of the input is the same data as the
// chunk of the output that it becomes.
TEST(DataLayout, RoundsFollowFromTheLargestBlock) {
  const BlockList small{1, 10, {}, {}};
  const BlockList large{2, 0, {10, 1000}, {0, 10}};
  const DataLayout one(small, large, 1, 4, 0, 64);
  EXPECT_EQ(one.rounds(), 1u);
  const DataLayout many(small, large, 1, 4, 1, 64);
  EXPECT_EQ(many.rounds(), (1000u + 15) / 16);
  EXPECT_EQ(many.chunk(Buffer::kInput, 0, 0).bytes, 40u);
  EXPECT_EQ(many.chunk(Buffer::kInput, 0, 1).bytes, 0u);
  EXPECT_EQ(many.chunk(Buffer::kOutput, 0, 0).bytes, 40u);
  EXPECT_EQ(many.chunk(Buffer::kOutput, 1, 1).offset, (10u + 16) * 4);
}

// Counts above 2^32, with nothing behind them.
TEST(DataLayout, VeryLong) {
  const size_t each = (size_t{1} << 40) + 3;
  const DataLayout layout({1, each, {}, {}}, {1, each, {}, {}}, 8, 2, 7, size_t{64} << 20);
  Extent last{};
  for (uint32_t k = 0; k < 8; ++k) {
    const Extent e = layout.chunk(Buffer::kOutput, k, layout.rounds() - 1);
    if (e.bytes > 0) last = e;
  }
  EXPECT_EQ(last.offset + last.bytes, each * 2);
}

}  // namespace
}  // namespace tutti
