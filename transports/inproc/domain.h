// InprocDomain: the memory world of one process. Knows the endpoints in it and, for every two that
// are connected, the memory of their link (ring/link.h).
//
// Threads: every method may be called by any thread. The data path never comes here. Owned jointly
// by the endpoints of the process: no single rank outlives all others.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/base/status.h"
#include "transports/ring/bell.h"
#include "transports/ring/link.h"

namespace tutti {

// What the two ends of a link share. Guarded by the lock in its head.
class InprocLinkMemory {
 public:
  InprocLinkMemory() = default;
  ~InprocLinkMemory();
  InprocLinkMemory(const InprocLinkMemory&) = delete;
  InprocLinkMemory& operator=(const InprocLinkMemory&) = delete;

  LinkHead head = {};
  Result<RingBlock*> block(uint32_t index);

 private:
  std::vector<RingBlock*> blocks_;
};

// What an endpoint shows its peers.
struct InprocEndpoint {
  std::shared_ptr<Door> door;
  std::shared_ptr<const UniqueFd> bell;
};

// One end of a link; both ends and their channels keep the memory.
class InprocLink final : public RingLink {
 public:
  // `other`: the peer's end; nothing for the link of an endpoint with itself.
  InprocLink(std::shared_ptr<InprocLinkMemory> memory, InprocEndpoint other, int peer, int side)
      : RingLink("inproc", peer, side), memory_(std::move(memory)), other_(std::move(other)) {}

  Door* peer_door() override { return other_.door.get(); }
  void wake_peer() override {
    if (other_.bell != nullptr) Bell::ring(other_.bell->get());
  }

 private:
  LinkHead& head() override { return memory_->head; }
  Result<RingBlock*> block(uint32_t index) override { return memory_->block(index); }

  const std::shared_ptr<InprocLinkMemory> memory_;
  const InprocEndpoint other_;
};

// For a new endpoint. Throws std::bad_alloc.
std::shared_ptr<Door> make_inproc_door();

class InprocDomain {
 public:
  static std::shared_ptr<InprocDomain> create();
  ~InprocDomain();
  InprocDomain(const InprocDomain&) = delete;
  InprocDomain& operator=(const InprocDomain&) = delete;

  // A new endpoint; its id is never given out again.
  uint64_t add_endpoint(InprocEndpoint endpoint);
  // A peer that was using memory of it may not have looked yet, so what it had allocated
  // (std::aligned_alloc) stays until the domain goes.
  void remove_endpoint(uint64_t id, std::span<void* const> blocks);
  // The end that `local` has of its link with `remote`, which it knows as `peer`. kRemoteError when
  // that is gone.
  Result<std::shared_ptr<RingLink>> link(uint64_t local, uint64_t remote, int peer);

  size_t ring_pairs() const;  // alive now

 private:
  using Ends = std::pair<uint64_t, uint64_t>;  // endpoint ids, the lower first
  InprocDomain() = default;

  mutable Mutex mutex_;
  uint64_t next_id_ TUTTI_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, InprocEndpoint> endpoints_ TUTTI_GUARDED_BY(mutex_);
  // As long as one of the two is there.
  std::map<Ends, std::shared_ptr<InprocLinkMemory>> links_ TUTTI_GUARDED_BY(mutex_);
  std::vector<void*> orphans_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
