// What travels on a link: the records of its ring, and the numbers both ends must agree on.
//
// A link has two connections in each direction. The ring's carries records: each is written by the
// sender straight into a slot of the reader's memory (a Gloo "bound" buffer), right-aligned, so
// that the stamp, the last word, always lies at the same place and its bytes arrive last:
//
//   | ............ | payload | Record ... stamp |      slot n % kRingSlots of record n
//
// A payload of more than kInlineBytes is written first, into the arena, a second such buffer that
// the sender fills round and round; `arena_at` says where.
//
// The bulk connection carries messages of more than kEagerBytes, each written straight from the
// sender's into the reader's memory. kGrant says where message `number` of the channel may go if it
// has exactly `bytes`; it is sent as soon as there is a receive for it, known or not. kBulk says
// that it is posted. When both have met, at the sender, the bytes go, in pieces, and behind them 8
// bytes into the grant's stamp cell. A grant for a message of another length is void.
//
// Host byte order: both ends are built from the same sources for the same kind of machine, which
// the address proves (address.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "transports/transport.h"

namespace tutti {

inline constexpr size_t kInlineBytes = 4096;
// Messages up to this long are copied into the ring and out of it; longer ones go from memory to
// memory but wait for the receiver to say where.
inline constexpr size_t kEagerBytes = size_t{256} << 10;
inline constexpr size_t kArenaBytes = size_t{2} << 20;  // per direction of a link
inline constexpr uint32_t kWindow = 16;                 // K: messages outstanding per channel
inline constexpr uint64_t kRingSlots = 64;              // per direction of a link
inline constexpr uint64_t kReservedSlots = 4;  // only for kCredit, so that credit can always flow
// Gloo makes the socket's send buffer as long as the longest piece. Pieces of 64 KiB, 256 KiB,
// 1 MiB, none: exchanging 4 MiB took 5.6, 1.7, 8.5, 4.8 ms here.
inline constexpr size_t kPieceBytes = 256 * 1024;
inline constexpr uint32_t kStampCells = 1024;  // grants open at once, per direction of a link

// A channel, the same seen from both ends; its direction is that of the record.
struct WireKey {
  uint64_t comm;
  uint64_t order;
  uint32_t epoch;
  uint32_t plane;
  bool operator==(const WireKey&) const = default;
};

struct WireKeyHash {
  size_t operator()(const WireKey& key) const {
    uint64_t hash = key.comm * 0x9e3779b97f4a7c15;
    hash = (hash ^ (hash >> 29) ^ key.order) * 0x9e3779b97f4a7c15;
    hash = (hash ^ (hash >> 29) ^ key.epoch ^ (uint64_t{key.plane} << 32)) * 0x9e3779b97f4a7c15;
    return hash ^ (hash >> 29);
  }
};

enum class RecordKind : uint8_t {
  kHello = 1,  // the first: as long as a record can be (kPieceBytes tells why)
  kBulkUp,     // both bulk connections stand, seen from here
  kEager,      // a message: `bytes` of payload
  kBulk,       // a message of `bytes`
  kGrant,      // message `number` may be written into `region`, and then `stamp_value` into `cell`
  kAck,        // payload: Acks
  kCredit,     // nothing but `taken`
  kOpened,     // the sender's end of `key` was opened; `receiving` tells which
  kClosed,     // ... was closed
  kAbort,      // the sender has ended key.comm up to key.epoch
  kBye,        // the last record: the sender leaves when it knows that this has been taken
};
inline constexpr uint8_t kRecordHasHeader = 1;
inline constexpr uint8_t kRecordReceiving = 2;  // kOpened, kClosed: the receive end
inline constexpr uint8_t kRecordCut = 4;        // kClosed: messages announced will not come

struct Record {
  WireKey key;
  OpHeader header;
  uint64_t bytes;
  uint64_t number;       // of a message, in its generation
  uint64_t stamp_value;  // not 0
  uint32_t generation;   // of the channel's sending end, which numbers messages from 0 in each
  uint32_t unused1;
  uint32_t region;
  uint32_t cell;
  uint32_t acked;  // messages of the opposite direction of `key` consumed since last said
  uint32_t payload_bytes;
  RecordKind kind;
  uint8_t flags;
  uint8_t unused2[2];
  uint32_t arena_at;  // where a payload of more than kInlineBytes starts
  uint64_t taken;     // records of the opposite ring that the sender of this has taken
  uint64_t stamp;     // number of the record + 1
};
static_assert(sizeof(Record) == 112);
static_assert(offsetof(Record, stamp) == sizeof(Record) - sizeof(uint64_t));

struct Ack {
  WireKey key;
  uint64_t count;
};

inline constexpr size_t kSlotBytes = (kInlineBytes + sizeof(Record) + 63) / 64 * 64;

}  // namespace tutti
