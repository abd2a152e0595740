// The block of a channel for short messages.
#include "transports/ring/staging.h"

#include <cstdlib>
#include <gtest/gtest.h>
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

TEST(Staging, TakesOneBlockAndGivesItBack) {
  OneBlock memory(true);
  Staging staging(&memory);
  for (uint64_t number = 0; number < 1000; ++number) {
    std::byte* const at = staging.take(number, number, kStagedBytes);
    ASSERT_GE(at, memory.block.data());
    ASSERT_LE(at + kStagedBytes, memory.block.data() + memory.block.size());
  }
  std::byte* const one = staging.take(1000, 1000, kStagedBytes);
  std::byte* const other = staging.take(1001, 1000, kStagedBytes);
  EXPECT_GE(static_cast<size_t>(std::abs(one - other)), kStagedBytes);
  uint64_t number = 1002;
  while (staging.take(number, 1000, kStagedBytes) != nullptr) ++number;
  EXPECT_LT(number, 1005u);
  EXPECT_NE(staging.take(number + 1, number + 1, kStagedBytes), nullptr);
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
