// Staging: copies of short messages from memory that peers cannot map, in memory that they can.
//
// A copy costs less than the system call by which the peer would read the original. One block of
// the link's memory per channel, taken when first needed and used round and round, so that nothing
// here allocates, locks or waits. Not thread-safe, as its channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "transports/ring/circular.h"
#include "transports/ring/memory.h"

namespace tutti {

inline constexpr size_t kStagedBytes = size_t{16} << 10;
// Below this it does so through blocks taken message by message: the kernel reads another process
// page by page. All-reduce of ordinary memory between two processes, us, read by the kernel and
// copied: 128 KiB 16.0 and 5.4, 1 MiB 105 and 46, 4 MiB 464 and 232; of 16 MiB no difference.
inline constexpr size_t kCopiedBytes = size_t{4} << 20;

class Staging {
 public:
  explicit Staging(LinkMemory* memory) : memory_(memory) {}
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // As CircularRoom::take(); null for none.
  std::byte* take(uint64_t number, uint64_t consumed, size_t bytes);
  // No message needs it any more.
  void drop();

 private:
  static constexpr size_t kBlockBytes = size_t{64} << 10;

  LinkMemory* const memory_;
  std::byte* block_ = nullptr;
  std::unique_ptr<CircularRoom> room_;  // in it
  bool refused_ = false;
};

}  // namespace tutti
