#include "transports/ring/door.h"

#include <algorithm>
#include <time.h>

#include "comm/base/membarrier.h"

namespace tutti {

class DoorGate final : public KernelGate {
 public:
  DoorGate(std::shared_ptr<OwnDoor> door, DoorSlot* slot, uint64_t comm)
      : door_(std::move(door)), slot_(slot), ended_(comm + 1) {}
  ~DoorGate() override { slot_->used.store(0, std::memory_order_release); }

  bool enter() override {
    // Only this thread writes it.
    const uint64_t begun = slot_->kernels.load(std::memory_order_relaxed) + 1;
    slot_->kernels.store(begun,
                         door_->fenceless_ ? std::memory_order_release : std::memory_order_seq_cst);
    light_barrier();
    if (slot_->ended.load(std::memory_order_seq_cst) != ended_) return true;
    leave();
    return false;
  }

  void leave() override {
    // release: all accesses of the kernel; pairs with the acquire in is_inside().
    slot_->kernels.store(slot_->kernels.load(std::memory_order_relaxed) + 1,
                         std::memory_order_release);
  }

 private:
  const std::shared_ptr<OwnDoor> door_;
  DoorSlot* const slot_;
  const uint64_t ended_;
};

OwnDoor::OwnDoor(Door* door, std::shared_ptr<void> keep, Reach reach, const char* transport)
    : door_(door),
      keep_(std::move(keep)),
      fenceless_(reach == Reach::kProcess ? has_process_barrier() : has_host_barrier()),
      transport_(transport) {
  door_->fenceless.store(fenceless_ ? 1 : 0, std::memory_order_release);
}

Result<std::unique_ptr<KernelGate>> OwnDoor::open(uint64_t comm) {
  MutexLock lock(mutex_);
  for (uint32_t i = 0; i < kDoorSlots; ++i) {
    DoorSlot& slot = door_->slot[i];
    if (slot.used.load(std::memory_order_acquire) != 0) continue;
    slot.comm.store(comm, std::memory_order_relaxed);
    slot.used.store(1, std::memory_order_release);
    const uint32_t slots = door_->slots.load(std::memory_order_relaxed);
    door_->slots.store(std::max(slots, i + 1), std::memory_order_release);
    return std::unique_ptr<KernelGate>(std::make_unique<DoorGate>(shared_from_this(), &slot, comm));
  }
  return error(Code::kOutOfMemory, "%s: more than %u communicators on one endpoint", transport_,
               kDoorSlots);
}

namespace {

// The slots in use, of one communicator where it is given, until the function says no.
template <typename Slots, typename Function>
bool for_each_slot(Slots& door, Function function) {
  const uint32_t slots = std::min(door.slots.load(std::memory_order_acquire), kDoorSlots);
  for (uint32_t i = 0; i < slots; ++i) {
    if (door.slot[i].used.load(std::memory_order_acquire) != 0 && !function(door.slot[i])) {
      return false;
    }
  }
  return true;
}

// Odd while a kernel is running. Pairs with the release stores in DoorGate.
bool is_running(const DoorSlot& slot) {
  return slot.kernels.load(std::memory_order_seq_cst) % 2 != 0;
}

bool is_of(const DoorSlot& slot, uint64_t comm) {
  return slot.comm.load(std::memory_order_relaxed) == comm;  // after the acquire of `used`
}

}  // namespace

bool is_any_inside(const Door& door) {
  return !for_each_slot(door, [](const DoorSlot& slot) { return !is_running(slot); });
}

void close_door(Door* door, uint64_t comm) {
  for_each_slot(*door, [comm](DoorSlot& slot) {
    if (is_of(slot, comm)) slot.ended.store(comm + 1, std::memory_order_seq_cst);
    return true;
  });
}

bool is_inside(const Door& door, uint64_t comm) {
  return !for_each_slot(
      door, [comm](const DoorSlot& slot) { return !is_of(slot, comm) || !is_running(slot); });
}

void pass_barrier(OwnDoor::Reach reach, bool must) {
  const bool process = reach == OwnDoor::Reach::kProcess;
  if (process ? has_process_barrier() : has_host_barrier()) {
    return process ? process_barrier() : host_barrier();
  }
  // Forbidden here but not to the peer. No processor keeps a store to itself for so long.
  constexpr timespec kLong{0, 1'000'000};
  if (must) clock_nanosleep(CLOCK_MONOTONIC, 0, &kLong, nullptr);
}

}  // namespace tutti
