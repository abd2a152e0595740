// The room for short messages: what is in use is never given out again, and all of it comes back.
#include "transports/ring/staging.h"

#include <deque>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace tutti {
namespace {

class OneBlock final : public LinkMemory {
 public:
  explicit OneBlock(bool has_any) : has_any_(has_any) {}
  LentRange describe(const iovec&) override { return {}; }
  void* resolve(const LentRange&) override { return nullptr; }
  bool peer_can_read() const override { return false; }
  Status read(const LentRange*, size_t, size_t, void*, size_t) override { return Status(); }
  Status detach(void*, size_t) override { return Status(); }
  uint64_t detaches() const override { return 0; }
  bool is_detached(const void*, size_t, uint64_t) const override { return false; }
  void* take_block(size_t bytes, BlockUse /*use*/, BlockWait* /*wait*/) override {
    ++taken;
    if (!has_any_) return nullptr;
    block.resize(bytes);
    return block.data();
  }
  void give_block(void* given) override {
    EXPECT_EQ(given, block.data());
    ++returned;
  }

  std::vector<std::byte> block;
  int taken = 0;
  int returned = 0;

 private:
  const bool has_any_;
};

TEST(Staging, NeverGivesOutWhatIsInUse) {
  OneBlock memory(true);
  Staging staging(&memory);
  std::minstd_rand random(7);
  struct Message {
    uint64_t number;
    std::byte* at;  // null: did not go this way
    size_t bytes;
  };
  std::deque<Message> outstanding;
  uint64_t number = 0;
  int refused = 0;
  for (int i = 0; i < 200'000; ++i) {
    // Sometimes the reader is far behind, sometimes close.
    const size_t most = random() % 3 == 0 ? kRingSlots - 1 : 4;
    while (outstanding.size() > most) outstanding.pop_front();
    const uint64_t consumed = outstanding.empty() ? number : outstanding.front().number;
    Message m{number++, nullptr, 1 + random() % kStagedBytes};
    if (random() % 5 != 0) {
      m.at = staging.take(m.number, consumed, m.bytes);
      refused += m.at == nullptr ? 1 : 0;
    }
    if (m.at != nullptr) {
      ASSERT_GE(m.at, memory.block.data());
      ASSERT_LE(m.at + m.bytes, memory.block.data() + memory.block.size());
      for (const Message& other : outstanding) {
        if (other.at == nullptr) continue;
        ASSERT_TRUE(m.at + m.bytes <= other.at || other.at + other.bytes <= m.at) << i;
      }
    }
    outstanding.push_back(m);
    if (random() % 2 == 0) outstanding.pop_front();
  }
  EXPECT_GT(refused, 0);
  // With nothing outstanding the longest message always fits.
  for (int i = 0; i < 100; ++i, ++number) {
    EXPECT_NE(staging.take(number, number, kStagedBytes), nullptr);
  }
  staging.drop();
  EXPECT_EQ(memory.taken, 1);
  EXPECT_EQ(memory.returned, 1);
}

TEST(Staging, AsksForMemoryOnce) {
  OneBlock memory(false);
  Staging staging(&memory);
  EXPECT_EQ(staging.take(0, 0, 100), nullptr);
  EXPECT_EQ(staging.take(1, 1, 100), nullptr);
  staging.drop();
  EXPECT_EQ(memory.taken, 1);
  EXPECT_EQ(memory.returned, 0);
}

}  // namespace
}  // namespace tutti
