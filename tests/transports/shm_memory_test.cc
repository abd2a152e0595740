// What shm shares memory with: segments, regions, blocks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "tests/transports/conformance.h"
#include "transports/shm/block_pool.h"
#include "transports/shm/regions.h"
#include "transports/shm/segment.h"

namespace tutti {
namespace {

TEST(ShmSegment, IsZeroAlignedAndSealed) {
  for (size_t alignment : {size_t{4096}, size_t{2} << 20}) {
    Result<Segment> made = Segment::create(5'000'000, alignment);
    ASSERT_TRUE(made.ok()) << made.status().text();
    const Segment segment = std::move(made.value());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(segment.base()) % alignment, 0u);
    EXPECT_EQ(segment.bytes() % 4096, 0u);
    EXPECT_EQ(segment.base()[4'999'999], std::byte{0});
    EXPECT_EQ(ftruncate(segment.fd(), 4096), -1) << "a peer must not take pages away";
    EXPECT_EQ(ftruncate(segment.fd(), 1 << 30), -1);
  }
}

TEST(ShmSegment, AdoptsOnlyWhatIsSealedAndLongEnough) {
  Result<Segment> made = Segment::create(8192, 4096);
  ASSERT_TRUE(made.ok());
  made.value().base()[5000] = std::byte{7};
  Result<Segment> other = Segment::adopt(UniqueFd(dup(made.value().fd())), 8192);
  ASSERT_TRUE(other.ok()) << other.status().text();
  EXPECT_EQ(other.value().base()[5000], std::byte{7});
  EXPECT_EQ(Segment::adopt(UniqueFd(dup(made.value().fd())), 8193).status().code(),
            Code::kInvalidArgument);
  UniqueFd open_ended(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(open_ended.get(), 8192), 0);
  EXPECT_EQ(Segment::adopt(std::move(open_ended), 8192).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Segment::adopt(UniqueFd(), 8192).status().code(), Code::kInvalidArgument);
}

TEST(ShmSegment, DiscardedPagesAreZerosForEverybody) {
  Result<Segment> made = Segment::create(4096, 4096);
  ASSERT_TRUE(made.ok());
  Result<void*> other = made.value().map(0, 4096);
  ASSERT_TRUE(other.ok());
  made.value().base()[0] = std::byte{1};
  made.value().discard();
  EXPECT_EQ(*static_cast<std::byte*>(other.value()), std::byte{0});
  munmap(other.value(), 4096);
}

TEST(ShmRegions, FindsWhatLiesInside) {
  OwnRegions regions;
  auto* a = static_cast<std::byte*>(regions.add(10'000).value());
  auto* b = static_cast<std::byte*>(regions.add(100).value());
  const RegionPlace at_b = regions.find(b + 50, 50);
  EXPECT_NE(at_b.generation, 0u);
  EXPECT_EQ(at_b.offset, 50u);
  EXPECT_NE(at_b.slot, regions.find(a, 1).slot);
  EXPECT_EQ(regions.find(a + 12'000, 500).generation, 0u) << "reaches beyond the last page";
  int outside = 0;
  EXPECT_EQ(regions.find(&outside, 4).generation, 0u);
  const RegionFile file = regions.file(at_b.slot, at_b.generation);
  EXPECT_GE(file.fd, 0);
  EXPECT_EQ(file.offset, 0u);
  EXPECT_EQ(file.bytes, 4096u);
  EXPECT_FALSE(regions.remove(b + 8)) << "only as a whole";
  EXPECT_TRUE(regions.remove(b));
  EXPECT_FALSE(regions.remove(b));
  EXPECT_EQ(regions.file(at_b.slot, at_b.generation).fd, -1);
  auto* c = static_cast<std::byte*>(regions.add(100).value());
  EXPECT_EQ(regions.find(c, 1).slot, at_b.slot) << "numbers are used again";
  EXPECT_NE(regions.find(c, 1).generation, at_b.generation) << "and told apart";
}

TEST(ShmRegions, HaveALimit) {
  OwnRegions regions;
  std::vector<void*> all;
  for (uint32_t i = 0; i < kMaxRegions; ++i) {
    Result<void*> made = regions.add(1);
    if (!made.ok()) GTEST_SKIP() << "descriptors ran out first: " << made.status().text();
    all.push_back(made.value());
  }
  EXPECT_EQ(regions.add(1).status().code(), Code::kOutOfMemory);
  EXPECT_TRUE(regions.remove(all[3]));
  EXPECT_TRUE(regions.add(1).ok());
}

// What a peer has mapped of the stretch that holds an address.
std::byte* peer_view(const OwnRegions& regions, const std::byte* at) {
  const RegionPlace place = regions.find(at, 1);
  const RegionFile file = regions.file(place.slot, place.generation);
  void* base = mmap(nullptr, file.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd,
                    static_cast<off_t>(file.offset));
  EXPECT_NE(base, MAP_FAILED);
  return static_cast<std::byte*>(base) + place.offset;
}

TEST(ShmRegions, DetachedPagesKeepContentsAndAddress) {
  OwnRegions regions;
  constexpr size_t kPages = 10;
  constexpr size_t kBytes = kPages * 4096;
  auto* base = static_cast<std::byte*>(regions.add(kBytes).value());
  const std::vector<std::byte> wanted = pattern(1, kBytes);
  std::memcpy(base, wanted.data(), kBytes);
  std::byte* before = peer_view(regions, base);
  const uint64_t since = regions.detaches();
  // From the middle of page 3 to the middle of page 5.
  ASSERT_TRUE(regions.detach(base + 3 * 4096 + 100, 2 * 4096).ok());
  EXPECT_EQ(std::memcmp(base, wanted.data(), kBytes), 0);
  std::fill_n(before, kBytes, std::byte{0xEE});
  for (size_t page = 0; page < kPages; ++page) {
    const bool ours = page >= 3 && page <= 5;
    const std::byte want = ours ? wanted[page * 4096] : std::byte{0xEE};
    EXPECT_EQ(base[page * 4096], want) << page;
    // Whoever maps it now sees what we see.
    std::byte* now = peer_view(regions, base + page * 4096);
    *now = std::byte{0x11};
    EXPECT_EQ(base[page * 4096], std::byte{0x11}) << page;
  }
  EXPECT_EQ(regions.find(base + 2 * 4096, 2 * 4096).generation, 0u) << "in two regions";
  EXPECT_TRUE(regions.is_detached(base, kBytes, since));
  EXPECT_FALSE(regions.is_detached(base, 3 * 4096, since));
  EXPECT_FALSE(regions.is_detached(base, kBytes, regions.detaches()));
  // Again, over the seams.
  ASSERT_TRUE(regions.detach(base, kBytes).ok());
  EXPECT_EQ(base[0], std::byte{0x11});
  EXPECT_TRUE(regions.remove(base));
  EXPECT_FALSE(regions.remove(base));
  EXPECT_EQ(regions.find(base, 1).generation, 0u);
}

TEST(ShmBlockPool, KeepsBlocksAndHasALimit) {
  OwnRegions regions;
  BlockPool pool(&regions);
  void* first = pool.take(1000);
  ASSERT_NE(first, nullptr);
  pool.give(first);
  EXPECT_EQ(pool.take(2000), first) << "used again";
  void* large = pool.take(BlockPool::kMostBytes);
  EXPECT_EQ(large, nullptr) << "too much with what is out";
  pool.give(first);
  large = pool.take(2 * BlockPool::kMostBytes);
  ASSERT_NE(large, nullptr) << "alone it may be larger";
  EXPECT_EQ(pool.take(1), nullptr);
  pool.give(large);
  EXPECT_NE(pool.take(1), nullptr);
}

}  // namespace
}  // namespace tutti
