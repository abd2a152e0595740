// BlockPool: the memory of a process in which messages are copied on their way to peers of this
// host, in blocks that are kept for the next one. One per process, shared by its endpoints.
//
// Blocks in use and blocks kept never take more than the cap together, which is the setting
// buffer_cap of whoever asks; at most 1/kStagingShare of it is given out for as long as a channel
// lives, so that the rest comes back when receivers have consumed what is under way. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "comm/base/mutex.h"
#include "transports/ring/memory.h"
#include "transports/shm/regions.h"

namespace tutti {

class BlockPool {
 public:
  static constexpr size_t kStagingShare = 4;

  // What is under way for that long, with somebody waiting, may be waiting for him in turn.
  static constexpr int64_t kPatienceNs = 10'000'000'000;

  explicit BlockPool(std::shared_ptr<OwnRegions> regions, int64_t patience_ns = kPatienceNs)
      : regions_(std::move(regions)), patience_ns_(patience_ns) {}
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // Null when that would take more than `cap`, or there is no memory. `wait`: as LinkMemory's.
  void* take(size_t bytes, BlockUse use, size_t cap, BlockWait* wait);
  void give(void* block);
  // What all blocks take, those kept for later included.
  size_t bytes();

 private:
  struct Block {
    size_t bytes;
    BlockUse use;  // the latest
  };
  bool make_room(size_t bytes, size_t cap) TUTTI_REQUIRES(mutex_);
  void* reuse_or_add(size_t bytes, size_t cap) TUTTI_REQUIRES(mutex_);
  void check(size_t bytes, size_t cap, BlockWait* wait) TUTTI_REQUIRES(mutex_);

  const std::shared_ptr<OwnRegions> regions_;
  const int64_t patience_ns_;
  Mutex mutex_;
  std::map<size_t, std::vector<void*>> free_ TUTTI_GUARDED_BY(mutex_);  // by size; none empty
  std::unordered_map<void*, Block> blocks_ TUTTI_GUARDED_BY(mutex_);    // all
  size_t bytes_ TUTTI_GUARDED_BY(mutex_) = 0;                           // of blocks_
  size_t staging_bytes_ TUTTI_GUARDED_BY(mutex_) = 0;                   // of those, out as kStaging
  int64_t given_ns_ TUTTI_GUARDED_BY(mutex_) = 0;                       // when one last came back
};

}  // namespace tutti
