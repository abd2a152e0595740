// On which memory node things lie, by a system that only remembers what it was asked; and that the
// real one does what is asked of it, on node 0.
#include <cerrno>
#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <map>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/transports/shm_endpoint.h"
#include "transports/shm/nodes.h"
#include "transports/shm/regions.h"
#include "transports/shm/ring_nodes.h"

namespace tutti {
namespace {

struct Wish {
  std::byte* at;
  size_t bytes;
  int node;
};

// A host of two nodes with a thread on `current`.
struct FakeHost {
  int current = 0;
  int answer = 0;
  std::vector<Wish> wishes;

  MemoryNodes::System system(int count = 2) {
    return {count, [this] { return current; },
            [this](void* at, size_t bytes, int node) {
              wishes.push_back({static_cast<std::byte*>(at), bytes, node});
              return answer;
            }};
  }
};

TEST(ShmNodes, AreCounted) {
  EXPECT_EQ(count_nodes("0\n"), 1);
  EXPECT_EQ(count_nodes("0-3"), 4);
  EXPECT_EQ(count_nodes("0,2-3,7\n"), 4);
  for (const char* odd :
       {"", "\n", "x", "0-", "3-1", "0,x", "-1", "0-99999999", "99999999999999"}) {
    EXPECT_EQ(count_nodes(odd), 1) << odd;
  }
}

TEST(ShmNodes, MemoryIsOnTheNodeOfWhoAsksForIt) {
  FakeHost host;
  OwnRegions regions(host.system());
  host.current = 1;
  auto* a = static_cast<std::byte*>(regions.add(10'000).value());
  host.current = 0;
  auto* b = static_cast<std::byte*>(regions.add(OwnRegions::kLargestShared + 1).value());
  host.current = -1;
  (void)regions.add(5).value();
  ASSERT_EQ(host.wishes.size(), 2u);
  EXPECT_EQ(host.wishes[0].at, a);
  EXPECT_EQ(host.wishes[0].bytes, 3 * 4096u);
  EXPECT_EQ(host.wishes[0].node, 1);
  EXPECT_EQ(host.wishes[1].at, b);
  EXPECT_EQ(host.wishes[1].bytes, OwnRegions::kLargestShared + 4096);
  EXPECT_EQ(host.wishes[1].node, 0);
}

TEST(ShmNodes, OfOneNodeNothingIsAsked) {
  MemoryNodes::System alone;  // to call its functions would throw
  alone.count = 1;
  OwnRegions regions(alone);
  EXPECT_EQ(regions.nodes().current(), -1);
  EXPECT_TRUE(regions.add(5000).ok());
  regions.nodes().prefer(nullptr, 4096, 0);
  EXPECT_EQ(regions.nodes().refused(), 0);
}

TEST(ShmNodes, WhatIsRefusedIsNotAskedAgain) {
  FakeHost host;
  host.answer = EPERM;
  OwnRegions regions(host.system());
  auto* a = static_cast<std::byte*>(regions.add(5000).value());
  a[4999] = std::byte{1};
  EXPECT_TRUE(regions.add(5000).ok());
  EXPECT_EQ(host.wishes.size(), 1u);
  EXPECT_EQ(regions.nodes().refused(), EPERM);
  EXPECT_EQ(regions.nodes().current(), -1);
}

// Each byte of the pairs once, by whole pages, and every line that a side waits for with that side,
// but for those on the pages that both share.
TEST(ShmNodes, RingsBelongToTheirReaders) {
  std::map<size_t, RingStretch> by_offset;
  for (const RingStretch& stretch : ring_stretches()) {
    EXPECT_EQ(stretch.offset % kPageBytes, 0u);
    EXPECT_EQ(stretch.bytes % kPageBytes, 0u);
    by_offset[stretch.offset] = stretch;
  }
  size_t at = offsetof(RingBlock, pairs);
  for (const auto& [offset, stretch] : by_offset) {
    EXPECT_EQ(offset, at);
    at += stretch.bytes;
  }
  EXPECT_EQ(at, sizeof(RingBlock));
  const auto reader_of = [&](size_t offset) {
    return std::prev(by_offset.upper_bound(offset))->second.reader;
  };
  const std::unique_ptr<RingBlock> block(new RingBlock());
  const auto offset_of = [&](const void* line) {
    return static_cast<size_t>(static_cast<const std::byte*>(line) -
                               reinterpret_cast<const std::byte*>(block.get()));
  };
  for (RingPair& pair : block->pairs) {
    const size_t shared = offset_of(&pair.state) / kPageBytes;
    for (int side : {0, 1}) {
      const Ring ring(&pair, side);
      for (uint64_t message = 0; message < kRingSlots; ++message) {
        const size_t line = offset_of(&ring.slot(message).message);
        const bool own = line / kPageBytes == shared;
        EXPECT_EQ(reader_of(line), own ? 1 : 1 - side) << "side " << side << ", " << message;
      }
      const size_t spilled = offset_of(pair.spill0) / kPageBytes;
      const size_t last = offset_of(&pair.slots0[kRingSlots - 1]) / kPageBytes;
      for (size_t byte = 0; byte < kSpillBytes; byte += kRingLine) {
        const size_t line = offset_of(ring.spill(byte, kRingLine));
        const bool own = line / kPageBytes == spilled || line / kPageBytes == last;
        EXPECT_EQ(reader_of(line), own ? 1 : 1 - side) << "side " << side << ", spill " << byte;
      }
    }
  }
}

// Both ends ask for the same, whoever is first.
TEST(ShmNodes, EndpointsPlaceTheRingsOfALink) {
  FakeHost hosts[2];
  hosts[1].current = 1;
  Endpoints endpoints;
  for (int i = 0; i < 2; ++i) {
    endpoints.push_back(std::move(
        ShmTransport::open(i, {}, std::make_shared<OwnRegions>(hosts[i].system())).value()));
  }
  connect_all(endpoints);
  for (FakeHost& host : hosts) host.wishes.clear();
  const Pipe pipe = open_pipe(endpoints, 0, 1);
  for (const FakeHost& host : hosts) {
    const auto stretches = ring_stretches();
    ASSERT_EQ(host.wishes.size(), stretches.size());
    for (size_t i = 0; i < stretches.size(); ++i) {
      const Wish& wish = host.wishes[i];
      EXPECT_EQ(wish.node, stretches[i].reader) << "side 0 is on node 0, side 1 on node 1";
      EXPECT_EQ(wish.bytes, stretches[i].bytes);
      EXPECT_EQ(wish.at - host.wishes[0].at,
                static_cast<ptrdiff_t>(stretches[i].offset - stretches[0].offset));
    }
  }
  for (FakeHost& host : hosts) host.wishes.clear();
  const Pipe more = open_pipe(endpoints, 1, 0, 1);
  EXPECT_TRUE(hosts[0].wishes.empty()) << "of the same block";
}

// The kernel keeps a wish with the file, not with the mapping through which it was made.
TEST(ShmNodes, TheWishStaysWithTheSegment) {
  const MemoryNodes::System host = MemoryNodes::host();
  Segment segment = std::move(Segment::create_unmapped(sizeof(RingBlock)).value());
  void* const first = segment.map(0, sizeof(RingBlock)).value();
  const int refused = host.prefer(static_cast<std::byte*>(first) + 4096, 8192, 0);
  munmap(first, sizeof(RingBlock));
  if (refused == EPERM || refused == ENOSYS) GTEST_SKIP() << "mbind: " << std::strerror(refused);
  ASSERT_EQ(refused, 0) << std::strerror(refused);
  auto* const second = static_cast<std::byte*>(segment.map(0, sizeof(RingBlock)).value());
  for (size_t page = 0; page < 4; ++page) {
    int mode = -1;
    unsigned long nodes[16] = {};
    ASSERT_EQ(syscall(SYS_get_mempolicy, &mode, nodes, 1024, second + page * 4096, MPOL_F_ADDR), 0);
    const bool wished = page == 1 || page == 2;
    EXPECT_EQ(mode, wished ? MPOL_PREFERRED : MPOL_DEFAULT) << page;
    EXPECT_EQ(nodes[0], wished ? 1u : 0u) << page;
  }
  munmap(second, sizeof(RingBlock));
  EXPECT_GE(host.current(), -1);
}

// A host of several nodes all of whose wishes are for node 0, in earnest.
TEST(ShmNodes, MessagesAfterRealWishes) {
  MemoryNodes::System host = MemoryNodes::host();
  host.count = 2;
  host.current = [] { return 0; };
  Endpoints endpoints;
  for (int i = 0; i < 2; ++i) {
    endpoints.push_back(
        std::move(ShmTransport::open(i, {}, std::make_shared<OwnRegions>(host)).value()));
  }
  connect_all(endpoints);
  const Pipe pipe = open_pipe(endpoints, 0, 1);
  for (size_t bytes : {10, 200, 5000, 500'000}) {
    std::vector<std::byte> out = pattern(bytes, bytes);
    ASSERT_TRUE(send_bytes(*endpoints[0], *pipe.send, out));
    EXPECT_EQ(take_message(*endpoints[1], *pipe.recv, bytes).data, out);
  }
}

}  // namespace
}  // namespace tutti
