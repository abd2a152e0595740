// What shm shares memory with: segments, regions, blocks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <random>
#include <sys/mman.h>
#include <sys/resource.h>

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
  const auto adopt = [](int fd, size_t bytes) {
    return Segment::adopt_unmapped(UniqueFd(dup(fd)), bytes);
  };
  made.value().base()[5000] = std::byte{7};
  Result<Segment> other = adopt(made.value().fd(), 8192);
  ASSERT_TRUE(other.ok()) << other.status().text();
  Result<void*> seen = other.value().map(4096, 4096);
  ASSERT_TRUE(seen.ok());
  EXPECT_EQ(static_cast<std::byte*>(seen.value())[904], std::byte{7});
  munmap(seen.value(), 4096);
  EXPECT_EQ(adopt(made.value().fd(), 8193).status().code(), Code::kInvalidArgument);
  const UniqueFd open_ended(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(open_ended.get(), 8192), 0);
  EXPECT_EQ(adopt(open_ended.get(), 8192).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(adopt(-1, 8192).status().code(), Code::kInvalidArgument);
}

TEST(ShmSegment, LongerThanAFileMayBe) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small = {1 << 20, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status refused = Segment::create(2 << 20, 4096).status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(refused.code(), Code::kOutOfMemory);
  EXPECT_NE(refused.text().find("ulimit -f"), std::string::npos) << refused.text();
}

TEST(ShmRegions, SmallOnesShareOne) {
  OwnRegions regions;
  auto* a = static_cast<std::byte*>(regions.add(10'000).value());
  auto* b = static_cast<std::byte*>(regions.add(100).value());
  const RegionPlace at_a = regions.find(a, 10'000);
  const RegionPlace at_b = regions.find(b + 50, 50);
  EXPECT_NE(at_a.generation, 0u);
  EXPECT_EQ(at_a.slot, at_b.slot);
  EXPECT_EQ(at_b.offset - at_a.offset, 3 * 4096u + 50) << "by whole pages";
  int outside = 0;
  EXPECT_EQ(regions.find(&outside, 4).generation, 0u);
  const RegionFile file = regions.file(at_b.slot, at_b.generation);
  ASSERT_NE(file.segment, nullptr);
  EXPECT_EQ(file.offset, 0u);
  EXPECT_EQ(file.bytes, OwnRegions::kArenaBytes);
  b[0] = std::byte{1};
  EXPECT_FALSE(regions.remove(b + 8)) << "only as a whole";
  EXPECT_TRUE(regions.remove(b));
  EXPECT_FALSE(regions.remove(b));
  auto* c = static_cast<std::byte*>(regions.add(4000).value());
  EXPECT_EQ(c, b) << "used again";
  EXPECT_EQ(c[0], std::byte{0}) << "and clean";
}

TEST(ShmRegions, LargeOnesStandAlone) {
  OwnRegions regions;
  constexpr size_t kBytes = OwnRegions::kLargestShared + 1;
  auto* a = static_cast<std::byte*>(regions.add(kBytes).value());
  const RegionPlace at = regions.find(a + 50, 50);
  EXPECT_EQ(at.offset, 50u);
  EXPECT_EQ(regions.find(a + kBytes, 4096).generation, 0u) << "reaches beyond the last page";
  EXPECT_TRUE(regions.remove(a));
  EXPECT_EQ(regions.file(at.slot, at.generation).segment, nullptr);
  auto* b = static_cast<std::byte*>(regions.add(kBytes).value());
  EXPECT_EQ(regions.find(b, 1).slot, at.slot) << "numbers are used again";
  EXPECT_NE(regions.find(b, 1).generation, at.generation) << "and told apart";
}

// Against a plain list of what must be there: nothing overlaps, everything is clean and whole.
TEST(ShmRegions, AllocationsOfAllSizesComeAndGo) {
  OwnRegions regions;
  std::minstd_rand random(1);
  struct Piece {
    std::byte* at;
    size_t bytes;
    std::byte mark;
  };
  std::vector<Piece> pieces;
  for (int i = 0; i < 3000; ++i) {
    if (random() % 2 == 0 || pieces.empty()) {
      const size_t bytes = random() % (size_t{1} << (random() % 23)) + 1;
      Result<void*> made = regions.add(bytes);
      ASSERT_TRUE(made.ok()) << made.status().text();
      auto* at = static_cast<std::byte*>(made.value());
      if (bytes >= size_t{2} << 20) {
        EXPECT_EQ(reinterpret_cast<uintptr_t>(at) % (size_t{2} << 20), 0u);
      }
      ASSERT_EQ(at[0], std::byte{0}) << i;
      ASSERT_EQ(at[bytes - 1], std::byte{0}) << i;
      at[0] = at[bytes - 1] = std::byte(i % 255 + 1);
      pieces.push_back({at, bytes, at[0]});
    } else {
      const size_t which = random() % pieces.size();
      const Piece piece = pieces[which];
      ASSERT_EQ(piece.at[0], piece.mark) << i;
      ASSERT_EQ(piece.at[piece.bytes - 1], piece.mark) << i;
      ASSERT_TRUE(regions.remove(piece.at));
      pieces.erase(pieces.begin() + static_cast<ptrdiff_t>(which));
    }
  }
}

TEST(ShmRegions, HaveALimit) {
  OwnRegions regions;
  std::vector<void*> all;
  while (all.size() < kMaxRegions - OwnRegions::kReserve) {
    Result<void*> made = regions.add(OwnRegions::kLargestShared + 1, OwnRegions::kReserve);
    if (!made.ok()) GTEST_SKIP() << "descriptors ran out first: " << made.status().text();
    all.push_back(made.value());
  }
  EXPECT_EQ(regions.add(1, OwnRegions::kReserve).status().code(), Code::kOutOfMemory);
  EXPECT_TRUE(regions.add(1).ok()) << "for Tutti itself";
  EXPECT_TRUE(regions.remove(all[3]));
  EXPECT_TRUE(regions.remove(all[4]));
  EXPECT_TRUE(regions.add(OwnRegions::kLargestShared + 1, OwnRegions::kReserve).ok());
}

TEST(ShmRegions, MoreThanTheHostHas) {
  OwnRegions regions;
  EXPECT_EQ(regions.add(size_t{1} << 62).status().code(), Code::kOutOfMemory);
  EXPECT_EQ(regions.add(SIZE_MAX).status().code(), Code::kOutOfMemory);
}

// What a peer has mapped of the stretch that holds an address.
std::byte* peer_view(const OwnRegions& regions, const std::byte* at) {
  const RegionPlace place = regions.find(at, 1);
  const RegionFile file = regions.file(place.slot, place.generation);
  void* base = mmap(nullptr, file.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.segment->fd(),
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

constexpr size_t kCap = size_t{1} << 20;

TEST(ShmBlockPool, KeepsBlocksAndNeverTakesMoreThanItsCap) {
  BlockPool pool(std::make_shared<OwnRegions>());
  void* first = pool.take(1000, BlockUse::kMessage, kCap, nullptr);
  ASSERT_NE(first, nullptr);
  pool.give(first);
  EXPECT_EQ(pool.take(2000, BlockUse::kMessage, kCap, nullptr), first) << "used again";
  EXPECT_EQ(pool.take(kCap, BlockUse::kMessage, kCap, nullptr), nullptr);
  pool.give(first);
  void* all = pool.take(kCap, BlockUse::kMessage, kCap, nullptr);
  ASSERT_NE(all, nullptr) << "what is kept makes room";
  EXPECT_EQ(pool.bytes(), kCap);
  EXPECT_EQ(pool.take(1, BlockUse::kMessage, kCap, nullptr), nullptr);
  EXPECT_NE(pool.take(1, BlockUse::kMessage, 2 * kCap, nullptr), nullptr) << "whose cap is larger";
  pool.give(all);
  EXPECT_EQ(pool.take(SIZE_MAX, BlockUse::kMessage, kCap, nullptr), nullptr);
}

TEST(ShmBlockPool, ChannelsKeepNoMoreThanTheirShare) {
  BlockPool pool(std::make_shared<OwnRegions>());
  constexpr size_t kStaging = kCap / BlockPool::kStagingShare;
  void* held = pool.take(kStaging, BlockUse::kStaging, kCap, nullptr);
  ASSERT_NE(held, nullptr);
  EXPECT_EQ(pool.take(1, BlockUse::kStaging, kCap, nullptr), nullptr);
  EXPECT_NE(pool.take(kCap - kStaging, BlockUse::kMessage, kCap, nullptr), nullptr);
  BlockWait wait;
  EXPECT_EQ(pool.take(kCap, BlockUse::kMessage, kCap, &wait), nullptr);
  EXPECT_EQ(wait.never.code(), Code::kOutOfMemory) << "staging does not come back";
  EXPECT_NE(wait.never.text().find("TUTTI_BUFFER_CAP"), std::string::npos) << wait.never.text();
  pool.give(held);
  EXPECT_NE(pool.take(1, BlockUse::kStaging, kCap, nullptr), nullptr);
}

TEST(ShmBlockPool, WhoeverWaitsInVainIsTold) {
  BlockPool patient(std::make_shared<OwnRegions>());
  BlockPool hasty(std::make_shared<OwnRegions>(), 0);
  for (BlockPool* pool : {&patient, &hasty}) {
    void* all = pool->take(kCap, BlockUse::kMessage, kCap, nullptr);
    BlockWait wait;
    EXPECT_EQ(pool->take(1, BlockUse::kMessage, kCap, &wait), nullptr);
    EXPECT_EQ(wait.never.ok(), pool == &patient) << wait.never.text();
    pool->give(all);
    EXPECT_NE(pool->take(1, BlockUse::kMessage, kCap, &wait), nullptr);
    EXPECT_EQ(wait.since_ns, 0);
  }
}

TEST(ShmBlockPool, TakesNoMoreWhateverIsAskedFor) {
  BlockPool pool(std::make_shared<OwnRegions>());
  std::minstd_rand random(5);
  std::vector<void*> out;
  size_t granted = 0;
  for (int i = 0; i < 20'000; ++i) {
    if (random() % 2 == 0 && !out.empty()) {
      std::swap(out[random() % out.size()], out.back());
      pool.give(out.back());
      out.pop_back();
    } else {
      const BlockUse use = random() % 8 == 0 ? BlockUse::kStaging : BlockUse::kMessage;
      void* block = pool.take(1 + random() % (random() % 4 == 0 ? kCap : 5000), use, kCap, nullptr);
      if (block != nullptr) out.push_back(block);
      granted += block != nullptr;
    }
    ASSERT_LE(pool.bytes(), kCap);
  }
  EXPECT_GT(granted, 1000u);
}

}  // namespace
}  // namespace tutti
