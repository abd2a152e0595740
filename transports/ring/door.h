// Door: where one endpoint says that a kernel of it is running that may touch memory of its peers,
// and where they say that no further one may: memory which they have lent or offered to it goes
// back to its owner.
//
// A slot for each communicator of the endpoint. Zero-filled memory is a door without any, in
// ordinary memory (inproc) or in a region that peers map (shm). The protocol is Dekker's: the
// endpoint stores `kernels` and then loads `ended`, the peer stores `ended` and then loads
// `kernels`, so at least one of them sees the other. The frequent side pays no fence for it: the
// peer makes all running threads execute one (comm/base/membarrier.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "comm/base/mutex.h"
#include "comm/base/status.h"
#include "transports/ring/ring.h"
#include "transports/transport.h"

namespace tutti {

inline constexpr uint32_t kDoorSlots = 1024;

struct DoorSlot {
  // Written by the endpoint alone.
  alignas(kRingLine) std::atomic<uint64_t> comm;
  std::atomic<uint64_t> kernels;  // begun and ended: odd while one is running
  std::atomic<uint32_t> used;     // last when a slot is taken, so that `comm` is valid
  // Written by peers: the communicator they have ended, plus one.
  alignas(kRingLine) std::atomic<uint64_t> ended;
};

struct Door {
  alignas(kRingLine) std::atomic<uint32_t> slots;  // those below have been used
  std::atomic<uint32_t> fenceless;  // the endpoint relies on the barrier of its peers
  DoorSlot slot[kDoorSlots];
};

// The endpoint's side. Any thread.
class OwnDoor : public std::enable_shared_from_this<OwnDoor> {
 public:
  enum class Reach : uint8_t { kProcess, kHost };  // where the peers are
  // `door`: zeros at first; `keep` owns it. `transport` of static storage.
  OwnDoor(Door* door, std::shared_ptr<void> keep, Reach reach, const char* transport);

  // kOutOfMemory when all slots are taken.
  Result<std::unique_ptr<KernelGate>> open(uint64_t comm);

 private:
  friend class DoorGate;
  Door* const door_;
  const std::shared_ptr<void> keep_;
  const bool fenceless_;
  const char* const transport_;
  Mutex mutex_;  // for taking slots
};

// Whether a kernel of any communicator is running behind the door.
bool is_any_inside(const Door& door);

// The side of the peers: from now on no kernel of `comm` begins behind `door`, once all threads
// have passed a barrier.
void close_door(Door* door, uint64_t comm);
// Makes them pass it. `must`: somebody relies on it even where there is no such barrier.
void pass_barrier(OwnDoor::Reach reach, bool must);
// Whether a kernel of `comm` is still running.
bool is_inside(const Door& door, uint64_t comm);

}  // namespace tutti
