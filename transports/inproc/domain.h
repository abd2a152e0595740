// InprocDomain: the memory world of one process. Knows the endpoints in it and makes the pair of
// rings that two endpoints share for one order, when the first of the four channel ends that use it
// is opened, from whichever side; frees it when the last end is closed and nothing is left to read:
// a rank may send, leave and be gone before its peer opens the channel.
//
// Threads: every method may be called by any thread; opening, closing and ending take one mutex.
// The data path never comes here. Owned jointly by the endpoints of the process and their channels:
// the one place where Tutti shares ownership, because no single rank outlives all others.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/base/status.h"
#include "transports/inproc/ring.h"
#include "transports/transport.h"

namespace tutti {

// One order of messages between two endpoints, the same seen from both.
struct RingKey {
  uint64_t low;  // endpoint ids, low <= high
  uint64_t high;
  uint64_t comm;
  uint64_t order;
  uint32_t epoch;
  Plane plane;
  bool operator==(const RingKey&) const = default;
};

struct RingKeyHash {
  size_t operator()(const RingKey& key) const;
};

enum class Direction : uint8_t { kSend, kRecv };

// One end of one direction of a pair of rings, as a channel holds it.
struct RingEnd {
  RingPair* pair;
  int side;           // 0 or 1
  uint64_t position;  // number, on the ring, of this end's next message
  uint64_t consumed;  // send end: messages the other side has given back so far
  RingKey key;
  Direction direction;
};

class InprocDomain {
 public:
  static std::shared_ptr<InprocDomain> create();
  ~InprocDomain();
  InprocDomain(const InprocDomain&) = delete;
  InprocDomain& operator=(const InprocDomain&) = delete;

  // A new endpoint; its id is never given out again.
  uint64_t add_endpoint();
  // Its peers see it gone from now on. A peer that was using memory of it may not have looked yet,
  // so what it had allocated (std::aligned_alloc) stays until the domain goes.
  void remove_endpoint(uint64_t id, std::span<void* const> blocks);
  bool has_endpoint(uint64_t id) const;

  // Opens one end for `local`. kAborted or kRemoteError when either endpoint has ended the
  // communicator or is gone; kInvalidUsage when this end is open already.
  Result<RingEnd> open(uint64_t local, uint64_t peer, const ChannelKey& key, Direction direction);
  // `position`: where the end stopped; it resumes there when it is opened again while the other
  // side keeps the rings alive. `lending`: messages of a send end still name its memory; the rings
  // end as by abort(), because nobody may follow those addresses any more.
  void close(const RingEnd& end, uint64_t position, bool lending);

  // Ends the pairs of `comm` that have `id` at one end, and refuses to open more of them up to the
  // highest epoch among those (0 when there is none), so that a peer that comes later sees it too.
  void abort(uint64_t id, uint64_t comm);

  size_t ring_pairs() const;  // alive now

 private:
  struct Entry {
    std::unique_ptr<RingPair> pair;
    bool open[2][2] = {};          // [side][direction]
    uint64_t position[2][2] = {};  // of a closed end
    bool done_reading[2] = {};     // by side: its receive end was open and is closed
    bool any_open() const { return open[0][0] || open[0][1] || open[1][0] || open[1][1]; }
  };
  struct Endpoint {
    std::unordered_map<uint64_t, uint32_t> ended;  // by communicator: highest epoch aborted
  };

  InprocDomain() = default;
  // `mail`: messages of the peer may be waiting, whether it is still there or not.
  Status check_open(uint64_t local, uint64_t peer, const ChannelKey& key, bool mail) const
      TUTTI_REQUIRES(mutex_);
  // Whether a side that nobody has open has messages for the other that it may still come to read.
  bool has_mail(const RingKey& key, const Entry& entry) const TUTTI_REQUIRES(mutex_);
  void drop_unused(uint64_t id) TUTTI_REQUIRES(mutex_);
  bool has_ended(uint64_t id, const ChannelKey& key) const TUTTI_REQUIRES(mutex_);

  mutable Mutex mutex_;
  uint64_t next_id_ TUTTI_GUARDED_BY(mutex_) = 1;
  std::unordered_map<uint64_t, Endpoint> endpoints_ TUTTI_GUARDED_BY(mutex_);
  std::unordered_map<RingKey, Entry, RingKeyHash> entries_ TUTTI_GUARDED_BY(mutex_);
  std::vector<void*> orphans_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
