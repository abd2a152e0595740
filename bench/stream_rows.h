// What memory allows to dispatch and combine: as many bytes read, and as many written, as they have
// to, each once. Stand-alone on purpose, like limit.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace limit {

struct MoveWay {
  bool streaming;  // stores past the caches
  bool together;   // reads and writes in turns, in as many streams as one is longer than the other;
                   // else all reads before all writes
};
inline constexpr int kNumMoveWays = 4;
constexpr MoveWay move_way(int i) { return {i % 2 != 0, i / 2 != 0}; }

// A value that depends on every whole cache line of `from`, so that all are loaded.
uint64_t move_bytes(const uint8_t* from, size_t read, uint8_t* to, size_t written, MoveWay way);

}  // namespace limit
