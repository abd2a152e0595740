#include "comm/device/scaled_reduce.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tutti {
namespace {

constexpr size_t kBlockBytes = 4096;  // of one source: a handful of them stay in the L1 cache
constexpr int kFixedSources = 8;

// The pointers of one block, and room for its scaled sources.
struct Block {
  const void** src;
  void** dst;
  uint8_t* scratch;
};

void reduce_blocks(const ReduceCall& call, const void* const* scalar, const Block& block) {
  const size_t element = size_of(call.dtype);
  const size_t step = kBlockBytes / element;
  for (size_t at = 0; at < call.count; at += step) {
    const size_t n = std::min(step, call.count - at);
    for (int k = 0; k < call.nsrc; ++k) {
      block.src[k] = static_cast<const uint8_t*>(call.src[k]) + at * element;
      if (scalar[k] == nullptr) continue;
      uint8_t* scaled = block.scratch + static_cast<size_t>(k) * kBlockBytes;
      scale(scaled, block.src[k], n, call.dtype, scalar[k]);
      block.src[k] = scaled;
    }
    for (int j = 0; j < call.ndst; ++j) {
      block.dst[j] = static_cast<uint8_t*>(call.dst[j]) + at * element;
    }
    ReduceCall part = call;
    part.src = block.src;
    part.dst = block.dst;
    part.count = n;
    reduce(part);
  }
}

}  // namespace

void reduce_scaled(const ReduceCall& call, const void* const* scalar) {
  if (call.nsrc <= kFixedSources && call.ndst <= kFixedSources) {
    std::array<const void*, kFixedSources> src;
    std::array<void*, kFixedSources> dst;
    alignas(64) std::array<uint8_t, kFixedSources * kBlockBytes> scratch;
    return reduce_blocks(call, scalar, {src.data(), dst.data(), scratch.data()});
  }
  std::vector<const void*> src(static_cast<size_t>(call.nsrc));
  std::vector<void*> dst(static_cast<size_t>(call.ndst));
  std::vector<uint8_t> scratch(src.size() * kBlockBytes);
  reduce_blocks(call, scalar, {src.data(), dst.data(), scratch.data()});
}

}  // namespace tutti
