// The memory two ranks share for one order of messages: two rings, one per direction.
//
// No locks, no clearing, no pointers into itself: zero-filled memory is an empty pair of rings, in
// ordinary memory between threads (inproc) and in a mapped segment between processes (shm). Side 0
// and side 1 are the two ends; ring[s] carries the messages of side s. Slots are reused round
// robin; which one message n has, Ring knows.
//
//   line                     written by         bytes  holds
//   state                    both ends, rarely   0- 3  kAborted.. bits: who ended what
//   ring[s].slots[i].message side s              0- 7  stamp: number of the message + 1
//                                                8-15  tag: bytes << 8 | kHasHeader | MessageKind
//                                               16-31  OpHeader
//                                               32-63  the payload itself (kLine), or where it is:
//                                                      one LentRange (kOnePart), or the address of
//                                                      the sender's iovecs and their number
//                                                      (kParts, one address space), or where a list
//                                                      of LentRanges is and their number
//                                                      (kPartList), or ring[1-s].consumed
//                                                      (kPlaced), or where in ring[s].spill it is
//                                                      (kSpill)
//   ring[s].slots[i].offer   side s              0- 7  stamp: number of the message of ring[1-s]
//                                                      this is for + 1; kWithdrawn when taken back
//                                                8-55  owner's address, fingerprint, LentRange,
//                                                detaches
//   ring[s].consumed         side 1-s            0- 7  messages of ring[s] given back
//   ring[s].heard            side s              0- 7  newest count of ring[s].consumed that came
//                                                      in a message; for side s alone
//   ring[s].spill            side s                    payloads of more than kLineBytes that are
//                                                      copied, and lists of LentRanges, round and
//                                                      round (circular.h)
//
//   variable   store                          load                         what it carries
//   message    release, post_send/post_placed acquire, view/received      the line, the spilled or
//   stamp                                                                 lent bytes, placed bytes
//   consumed   release, release/received      acquire, post_send when the the reader's last read:
//                                             ring looks full, sent       slot and payload may be
//                                                                         written again
//   heard      release, view/received         acquire, sent               as consumed
//   offer      release, offer                 acquire, place              the line, and the owner's
//   stamp                                                                 last use of the range
//   state      acq_rel read-modify-write      acquire, every call         nothing else
//
// A small message is one line flight: stamp, header and payload share the line. The offer line lies
// beside the message line of the same side because both are fetched by the same reader at about the
// same time. The offer for message n overwrites that of n - kSlots, which the sender has posted and
// will not look up again; a line is never rewritten for the same message, so no reader can see half
// of one. A placed message has no payload and says instead how much its sender has read: an
// exchange of lent data against placed results ends without a look at `consumed`, one line flight
// less.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <sys/uio.h>

#include "transports/transport.h"

namespace tutti {

inline constexpr uint32_t kRingSlots = 64;  // also the bits of RingSendChannel's mask
inline constexpr size_t kRingLine = 64;
inline constexpr size_t kLineBytes = 32;  // payload that rides in the message line
// Payload that is copied into the ring although the peer could read it where it lies. Median ns per
// round trip of freshly written payloads, copied / lent, cores that share a cache and cores that do
// not: 64 B 152 / 190 and 710 / 830, 128 B 170 / 191 and 768 / 841, 256 B 187 / 193 and 860 / 865,
// more bytes no difference.
inline constexpr uint32_t kInlineBytes = 256;
// The same where the peer cannot, or where lending costs more than a copy: who lends waits until
// the reader has had a core, and with more ranks than cores that takes its turn.
inline constexpr uint32_t kSpilledBytes = 4096;
inline constexpr size_t kSpillBytes = size_t{4} * kSpilledBytes;

// A stretch of memory that its owner lends to the other side.
struct LentRange {
  uint64_t address;  // offset in `region`; kOwnAddress, kSameSpace: the owner's pointer
  uint64_t bytes;
  uint32_t region;      // one of those below, else the owner's number for it
  uint32_t generation;  // of the region, since numbers are used again
};
inline constexpr uint32_t kSameSpace = 0;             // both ends are in one address space
inline constexpr uint32_t kOwnAddress = UINT32_MAX;   // memory that no other process maps
inline constexpr uint32_t kInSpill = UINT32_MAX - 1;  // of a part list: an offset in the spill

enum class MessageKind : uint8_t { kLine, kSpill, kOnePart, kParts, kPartList, kPlaced };
inline constexpr uint64_t kKindMask = 0x7f;
inline constexpr uint64_t kHasHeader = 0x80;

struct LentParts {
  const iovec* parts;
  uint64_t nparts;
};

struct PartList {
  LentRange where;
  uint64_t nparts;
};
static_assert(sizeof(PartList) <= kLineBytes);

struct alignas(kRingLine) MessageLine {
  std::atomic<uint64_t> stamp;
  uint64_t tag;
  OpHeader header;
  union {
    std::byte payload[kLineBytes];
    LentRange one;
    LentParts lent;
    PartList list;
    uint64_t consumed;
    uint64_t spilled;  // offset
  };
};
static_assert(sizeof(MessageLine) == kRingLine);

inline constexpr uint64_t kWithdrawn = uint64_t{1} << 63;

struct alignas(kRingLine) OfferLine {
  std::atomic<uint64_t> stamp;
  void* base;  // for the owner alone, as `detaches`
  uint64_t fingerprint;
  LentRange place;
  uint64_t detaches;  // LinkMemory::detaches() at the offer
};
static_assert(sizeof(OfferLine) == kRingLine);

struct RingSlot {
  MessageLine message;
  OfferLine offer;
};

// Processors fetch lines in pairs.
inline constexpr size_t kLinePair = 2 * kRingLine;

struct alignas(kLinePair) CountLine {
  std::atomic<uint64_t> count;
};

// Bits of RingPair::state; each is followed by the same bit for side 1, one to the left.
inline constexpr uint32_t kAborted = 1u << 0;
inline constexpr uint32_t kGone = 1u << 2;  // the endpoint is destroyed
inline constexpr uint32_t kSendClosed = 1u << 4;
inline constexpr uint32_t kRecvClosed = 1u << 6;
// Nothing is reported to either side any more.
inline constexpr uint32_t kEnded = kAborted | kAborted << 1;

inline constexpr uint32_t bit_of(uint32_t bit, int side) { return bit << side; }

struct alignas(kLinePair) StateLine {
  std::atomic<uint32_t> bits;
};

inline constexpr size_t kPageBytes = 4096;

// Arranged so that two ends which exchange a few messages touch one page, for a communicator has
// such a pair with every peer: message 0 of side 1 lives in slot kPhase, the first of the page that
// goes on with the counts and the first slots of side 0; and what they spill first is on one other
// page. (Slots of both sides in turns would do the
// same, but what processors fetch ahead for one is then the other's: 7 ns of 125 per placed round
// trip.) A message line is the second of its pair: who polls it gets the offer before it as well,
// which nobody writes any more, and not the one beside it, which may be about to be written.
struct alignas(kPageBytes) RingPair {
  static constexpr uint32_t kPhase = kRingSlots - 8;
  static constexpr uint32_t kSpillShare = kPageBytes / 2;
  // Where the first payload that `side` spills goes.
  static constexpr size_t spill_start(int side) {
    return side == 0 ? 0 : kSpillBytes - kSpillShare;
  }

  std::byte unused_front[1024 + kRingLine];
  RingSlot slots1[kRingSlots];
  StateLine state;
  CountLine consumed[2];
  CountLine heard[2];
  std::byte unused_line[kRingLine];
  RingSlot slots0[kRingSlots];
  std::byte unused_back[3 * kRingLine];
  std::byte spill1[kSpillBytes];
  std::byte spill0[kSpillBytes];
};
static_assert(offsetof(RingPair, slots0) % kLinePair == kRingLine);
static_assert(offsetof(RingPair, slots1) % kLinePair == kRingLine);
static_assert(offsetof(RingPair, slots1[RingPair::kPhase]) / kPageBytes ==
              offsetof(RingPair, slots0[8]) / kPageBytes);
static_assert(offsetof(RingPair, spill0) % kPageBytes == RingPair::kSpillShare);

// One side's share of a pair: ring[s] above. A value.
class Ring {
 public:
  Ring(RingPair* pair, int side)
      : slots_(side == 0 ? pair->slots0 : pair->slots1),
        phase_(side == 0 ? 0 : RingPair::kPhase),
        consumed_(&pair->consumed[side].count),
        heard_(&pair->heard[side].count),
        spill_(side == 0 ? pair->spill0 : pair->spill1) {}

  RingSlot& slot(uint64_t message) const { return slots_[(message + phase_) % kRingSlots]; }
  // Null for what would lie beyond it.
  std::byte* spill(uint64_t offset, size_t bytes) const {
    return offset <= kSpillBytes && bytes <= kSpillBytes - offset ? spill_ + offset : nullptr;
  }
  std::atomic<uint64_t>& consumed() const { return *consumed_; }
  std::atomic<uint64_t>& heard() const { return *heard_; }

 private:
  RingSlot* slots_;
  uint64_t phase_;
  std::atomic<uint64_t>* consumed_;
  std::atomic<uint64_t>* heard_;
  std::byte* spill_;
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);
static_assert(std::atomic<uint32_t>::is_always_lock_free);

}  // namespace tutti
