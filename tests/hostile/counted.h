// What counted_rank does between two marks at a time, and its test looks at: for each size, each
// kind of operation, in blocks.
#pragma once

#include <cstddef>

namespace tutti {

inline constexpr size_t kCountedSizes = 3;
inline constexpr size_t kCountedBytes[kCountedSizes] = {8, size_t{4} << 10, size_t{256} << 10};
inline constexpr size_t kCountedKinds = 4;  // all_reduce, broadcast, all_gather, all_to_all
inline constexpr int kCountedPerBlock = 20;
// 10,000 all-reduces of each size, 1000 of the others.
inline constexpr int kCountedBlocks[kCountedKinds] = {500, 50, 50, 50};

}  // namespace tutti
