#include "transports/shm/ring_nodes.h"

#include <sys/mman.h>

namespace tutti {

std::array<RingStretch, kStretchesPerPair * kBlockPairs> ring_stretches() {
  constexpr size_t kShared = offsetof(RingPair, state) / kPageBytes * kPageBytes;
  constexpr size_t kSpill1 =
      (offsetof(RingPair, spill1) + kPageBytes - 1) / kPageBytes * kPageBytes;
  constexpr size_t kSpill0 = offsetof(RingPair, spill0) / kPageBytes * kPageBytes;
  std::array<RingStretch, kStretchesPerPair* kBlockPairs> stretches = {};
  for (size_t i = 0; i < kBlockPairs; ++i) {
    const size_t at = offsetof(RingBlock, pairs) + i * sizeof(RingPair);
    RingStretch* const pair = &stretches[kStretchesPerPair * i];
    pair[0] = {at, kShared, 0};
    pair[1] = {at + kShared, kSpill1 - kShared, 1};
    pair[2] = {at + kSpill1, kSpill0 - kSpill1, 0};
    pair[3] = {at + kSpill0, sizeof(RingPair) - kSpill0, 1};
  }
  return stretches;
}

// Through a mapping for this alone: the wish stays with the segment, where wishes about the mapping
// that is used would leave it in dozens of pieces.
void place_rings(MemoryNodes& system, const Segment& segment, size_t offset,
                 const std::array<int, 2>& nodes) {
  if (nodes[0] < 0 && nodes[1] < 0) return;
  Result<void*> block = segment.map(offset, sizeof(RingBlock));
  if (!block.ok()) return;
  for (const RingStretch& stretch : ring_stretches()) {
    system.prefer(static_cast<std::byte*>(block.value()) + stretch.offset, stretch.bytes,
                  nodes[static_cast<size_t>(stretch.reader)]);
  }
  munmap(block.value(), sizeof(RingBlock));
}

}  // namespace tutti
