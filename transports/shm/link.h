// ShmLink: one end of what two processes of a host share: a segment with the rings (ring/link.h),
// the peer's regions as they become known, and the unix socket over which both came.
//
// The end that connects makes the segment and may use it at once; the other finds it in its socket.
// Records on the socket are read when something is missing (a region, a proof), or by look(); they
// are sent before what needs them is posted, so that nobody ever waits for an answer.
// Threads: any. The channels of a link keep it alive.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "comm/base/log.h"
#include "comm/base/mutex.h"
#include "comm/base/unique_fd.h"
#include "transports/ring/link.h"
#include "transports/shm/block_pool.h"
#include "transports/shm/regions.h"
#include "transports/shm/segment.h"
#include "transports/shm/wire.h"

namespace tutti {

// What all links of an endpoint use; outlives the endpoint while there are links.
struct ShmOwn {
  ShmOwn(std::shared_ptr<OwnRegions> shared, std::shared_ptr<BlockPool> blocks, size_t most,
         const Log& warnings)
      : regions(std::move(shared)),
        node(regions->nodes().current()),
        pool(std::move(blocks)),
        buffer_cap(most),
        log(warnings) {}
  ~ShmOwn() { regions->remove(door); }
  ShmOwn(const ShmOwn&) = delete;
  ShmOwn& operator=(const ShmOwn&) = delete;

  const std::shared_ptr<OwnRegions> regions;  // of the process
  const int node;                             // of the rank; -1 where that does not matter
  const std::shared_ptr<BlockPool> pool;      // of the process
  const size_t buffer_cap;                    // of it
  const Log log;
  std::atomic<bool> full{false};  // a message had to wait for room in the pool
  Door* door = nullptr;
  RegionFile door_file;  // where peers find it
  std::shared_ptr<const UniqueFd> bell;
};

class ShmLink final : public RingLink, private LinkMemory {
 public:
  // Segments are this long; pages that nobody has touched cost nothing.
  static size_t segment_bytes();

  struct Connection {
    UniqueFd socket;
    Segment segment;                 // of segment_bytes(), not mapped
    std::optional<Digest> expected;  // the proof that the peer has yet to give
  };
  // `side`: 0 made the segment.
  static Result<std::shared_ptr<ShmLink>> make(std::shared_ptr<ShmOwn> own, int peer, int side,
                                               Connection connection);
  // Of an endpoint with itself.
  static Result<std::shared_ptr<ShmLink>> make_to_self(std::shared_ptr<ShmOwn> own, int peer);
  ~ShmLink() override;

  // Takes the peer's door and bell from its hello or welcome.
  Status meet(const ShmRecord& record, RecordFds fds);
  // Whether the peer has proved itself and shown its door; not ok when it never will. Nothing of
  // ours goes to it before.
  Result<bool> is_settled();
  // Reads the nonce at `address` in the peer's process, to learn whether the kernel allows that.
  // Returns 0, or the errno of its refusal.
  int probe(uint64_t address, const ShmNonce& nonce);

  LinkMemory* memory() override { return to_self_ ? nullptr : this; }
  Door* peer_door() override;
  void wake_peer() override;

 private:
  struct PeerRegion {
    std::atomic<uint32_t> generation{0};  // 0: none, or not mapped
    std::byte* base = nullptr;
    uint64_t bytes = 0;
  };

  ShmLink(std::shared_ptr<ShmOwn> own, int peer, int side, bool to_self)
      : RingLink("shm", peer, side), own_(std::move(own)), to_self_(to_self) {}
  Status map_head();

  // RingLink
  LinkHead& head() override { return *head_; }
  Result<RingBlock*> block(uint32_t index) override;
  void look() override;
  void clear(RingPair* pair) override;
  // LinkMemory
  LentRange describe(const iovec& part) override;
  void* resolve(const LentRange& lent) override;
  bool peer_can_read() const override;
  Status read(const LentRange* parts, size_t nparts, size_t offset, void* to,
              size_t bytes) override;
  Status detach(void* base, size_t bytes) override { return own_->regions->detach(base, bytes); }
  uint64_t detaches() const override { return own_->regions->detaches(); }
  bool is_detached(const void* base, size_t bytes, uint64_t since) const override {
    return own_->regions->is_detached(base, bytes, since);
  }
  void* take_block(size_t bytes, BlockUse use, BlockWait* wait) override;
  void give_block(void* block) override { own_->pool->give(block); }

  bool announce(const RegionPlace& place);
  void* find(const LentRange& lent) const;
  void receive() TUTTI_REQUIRES(mutex_);
  Status take(const ShmRecord& record, ShmReceived how, RecordFds fds) TUTTI_REQUIRES(mutex_);
  Status meet_locked(const ShmRecord& record, RecordFds fds) TUTTI_REQUIRES(mutex_);
  Status map_region(const ShmRecord& record, UniqueFd fd) TUTTI_REQUIRES(mutex_);
  bool process_has_ended() const;
  void forget_region(uint32_t slot) TUTTI_REQUIRES(mutex_);
  void unmap_retired() TUTTI_REQUIRES(mutex_);
  Status cannot_map();
  Status read_piece(const LentRange& part, size_t offset, void* to, size_t bytes) const;

  const std::shared_ptr<ShmOwn> own_;
  const bool to_self_;
  int own_side_ = 0;
  pid_t peer_pid_ = 0;
  UniqueFd peer_process_;  // tells when it ends, whoever has inherited its sockets
  Segment segment_;
  LinkHead* head_ = nullptr;
  UniqueFd socket_;
  std::array<PeerRegion, kMaxRegions> peer_regions_;
  std::array<std::atomic<uint32_t>, kMaxRegions> announced_ = {};  // generation, by slot
  std::atomic<int64_t> looked_ns_{0};
  Mutex mutex_;
  int peer_node_ TUTTI_GUARDED_BY(mutex_) = -1;
  std::vector<RingBlock*> blocks_ TUTTI_GUARDED_BY(mutex_);
  // Regions that the peer has replaced while a kernel here was running, which may still use them.
  std::vector<iovec> retired_ TUTTI_GUARDED_BY(mutex_);
  std::optional<Digest> expected_ TUTTI_GUARDED_BY(mutex_);
  bool gone_ TUTTI_GUARDED_BY(mutex_) = false;
  bool told_ TUTTI_GUARDED_BY(mutex_) = false;  // peer_left() has been called
  Status failure_ TUTTI_GUARDED_BY(mutex_);     // of meeting the peer
  Status unmapped_ TUTTI_GUARDED_BY(mutex_);    // why the last region could not be had
  Door* peer_door_ TUTTI_GUARDED_BY(mutex_) = nullptr;
  UniqueFd peer_bell_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
