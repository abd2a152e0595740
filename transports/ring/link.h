// RingLink: one rank's end of what two ranks share. Finds the pair of rings for an order of
// messages in memory that both ends see, making it when the first of the four channel ends that use
// it is opened, from whichever side, and recycling it when the last end is closed and nothing is
// left to read: a rank may send, leave and be gone before its peer opens the channel.
//
// The shared memory is a LinkHead and a growing number of RingBlocks, all zero-filled at first but
// for the lock. Opening, closing and ending take the lock; the data path never comes here.
// Invariants: every store under the lock leaves a state that the next holder can work with, because
// the holder may be killed. Whoever opens an end, clears nothing of the other side.
// Threads: every method may be called by any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "comm/base/status.h"
#include "transports/ring/door.h"
#include "transports/ring/memory.h"
#include "transports/ring/ring.h"
#include "transports/ring/shared_mutex.h"
#include "transports/transport.h"

namespace tutti {

enum class Direction : uint8_t { kSend, kRecv };

inline constexpr uint32_t kBlockPairs = 16;
inline constexpr uint32_t kEndedKept = 64;

// What the ends of one pair of rings have left behind.
struct RingEntry {
  uint64_t comm;
  uint64_t order;
  uint32_t epoch;
  Plane plane;
  bool used;
  bool open[2][2];          // [side][direction]
  bool done_reading[2];     // by side: its receive end was open and is closed
  uint64_t position[2][2];  // of a closed end
  bool any_open() const { return open[0][0] || open[0][1] || open[1][0] || open[1][1]; }
};

struct RingBlock {
  RingEntry entries[kBlockPairs];
  RingPair pairs[kBlockPairs];
};

struct LinkHead {
  // Communicators that a side has ended, newest last, up to and with `epoch`.
  struct Ended {
    uint64_t comm;
    uint32_t epoch;
  };
  SharedMutex mutex;
  // By side: threads of it that sleep, or are about to. A line of its own: it is read after every
  // message and hardly ever written.
  alignas(kRingLine) std::atomic<uint32_t> sleepers[2];
  alignas(kRingLine) std::atomic<uint32_t> left[2];  // by side: its endpoint is gone
  std::atomic<uint32_t> can_read[2];  // by side: it can read the other's memory (shm)
  uint32_t blocks;                    // in use
  uint64_t num_ended[2];
  Ended ended[2][kEndedKept];
};

// One end of one direction of a pair of rings, as a channel holds it.
struct RingEnd {
  RingPair* pair;
  RingEntry* entry;
  int side;           // 0 or 1
  uint64_t position;  // number, on the ring, of this end's next message
  uint64_t consumed;  // send end: messages the other side has given back so far
  ChannelKey key;
  Direction direction;
};

class RingLink {
 public:
  // `transport`: a name for texts, of static storage. `peer`: the other end's number. `side`: 0 or
  // 1, each end another; -1 for the link of a rank with itself, whose two sides are told apart by
  // direction.
  RingLink(const char* transport, int peer, int side)
      : transport_(transport), peer_(peer), side_(side) {}
  virtual ~RingLink() = default;
  RingLink(const RingLink&) = delete;
  RingLink& operator=(const RingLink&) = delete;

  // Opens one end. kAborted or kRemoteError when either side has ended the communicator or is gone;
  // kInvalidUsage when this end is open already.
  Result<RingEnd> open(const ChannelKey& key, Direction direction);
  // `position`: where the end stopped; it resumes there when it is opened again while the other
  // side keeps the rings alive. `lending`: messages of a send end still name its memory; the rings
  // end as by abort(), because nobody may follow those addresses any more.
  void close(const RingEnd& end, uint64_t position, bool lending);

  // The highest epoch of `comm` that this end knows of, 0 for none.
  uint32_t highest_epoch(uint64_t comm);
  // Ends the pairs of `comm` up to and with `epoch`, and refuses to open more of them at both ends.
  // For end_communicator() (ending.h).
  void abort(uint64_t comm, uint32_t epoch);
  // This end's endpoint goes: the peer sees it gone from now on.
  void leave() { left(side_ < 0 ? 0 : side_); }
  // The peer has gone without a word.
  void peer_left() { left(side_ < 0 ? 0 : 1 - side_); }

  // Ok, kAborted when this side has ended the pair itself, else kRemoteError naming the peer. A
  // peer that closed its end in good order counts: nothing further will come from it.
  Status health(const RingEnd& end);
  uint32_t pairs_in_use();

  // Null where both ends are in one address space.
  virtual LinkMemory* memory() { return nullptr; }
  // Threads of this end that sleep until wake_peer() is called at the other: one more, or less.
  void add_sleepers(int more);
  // Those of the peer. One that begins to sleep makes all threads pass a barrier, so a relaxed load
  // after what was stored for it suffices.
  const std::atomic<uint32_t>& peer_sleepers();
  virtual void wake_peer() = 0;
  // Of the peer; null for the link of a rank with itself, and when the peer never showed one.
  virtual Door* peer_door() = 0;
  bool is_peer_gone();
  // The memory that `comm` offers the peer, which is inside a kernel and does not come out, is
  // replaced by other memory with the same contents: the peer keeps what it has. Says in words for
  // what that failed.
  std::string take_back_offers(uint64_t comm);

 protected:
  virtual LinkHead& head() = 0;
  // Block `index` <= head().blocks, made when it is not there. Called with the lock held.
  virtual Result<RingBlock*> block(uint32_t index) = 0;
  int peer_number() const { return peer_; }
  // Looks whether the peer's process lives, now and then; calls peer_left() when it does not.
  virtual void look() {}
  // Gives back the memory of a pair that nobody uses and leaves zeros.
  virtual void clear(RingPair* pair);

 private:
  struct Place {
    RingEntry* entry;
    RingPair* pair;
  };
  template <typename Function>
  void for_each(Function function);
  Result<Place> find(const ChannelKey& key);
  Result<Place> make(const ChannelKey& key);
  Status may_open(const ChannelKey& key, int side, bool mail);
  bool has_ended(int side, const ChannelKey& key);
  bool has_mail(const Place& place);
  void drop_unused();
  void drop(const Place& place);
  void left(int side);
  Status stuck() const;
  std::string still_written(const OfferLine& offer, const Status& why) const;

  const char* const transport_;
  const int peer_;
  const int side_;
  std::atomic<bool> stuck_{false};  // a peer that does not run holds the lock
};

}  // namespace tutti
