// BlockPool: pieces of mapped memory for copies on their way to a peer, kept for the next one.
// Any thread.
#pragma once

#include <cstddef>
#include <map>
#include <unordered_map>
#include <vector>

#include "comm/base/mutex.h"
#include "transports/shm/regions.h"

namespace tutti {

class BlockPool {
 public:
  // Blocks out at once, in bytes, before take() refuses, not counting those that must be.
  static constexpr size_t kMostBytes = size_t{64} << 20;

  explicit BlockPool(OwnRegions* regions) : regions_(regions) {}
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // Null when too much is out, or there is no memory: to be tried again when something came back.
  // With `must`, null for want of memory only.
  void* take(size_t bytes, bool must);
  void give(void* block);

 private:
  OwnRegions* const regions_;
  Mutex mutex_;
  std::map<size_t, std::vector<void*>> free_ TUTTI_GUARDED_BY(mutex_);  // by size
  struct Block {
    size_t bytes;
    bool counted;  // in out_bytes_
  };
  std::unordered_map<void*, Block> blocks_ TUTTI_GUARDED_BY(mutex_);  // all
  size_t out_bytes_ TUTTI_GUARDED_BY(mutex_) = 0;
  size_t free_bytes_ TUTTI_GUARDED_BY(mutex_) = 0;
};

}  // namespace tutti
