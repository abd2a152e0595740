// What travels between endpoints through MPI: packets, all under one tag, each an Envelope and, for
// short messages, the bytes themselves; longer messages follow their envelope under a tag of their
// own (world.h). MPI keeps packets from one process to another in order, so nothing here needs
// sequence numbers to be put right.
//
// Plain data, in the byte order of the machine: MPI jobs of mixed byte order are not supported.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "transports/transport.h"

namespace tutti {

enum class PacketKind : uint8_t {
  kData,       // a message, or a part of it: `offset` and what the packet holds
  kPayload,    // a message whose bytes come by themselves under `tag`
  kCredit,     // to a sending end: `number` of its messages have been taken; told for every half of
               // the slots, when the channel closes, and when nothing else happens
  kCloseSend,  // the sending end is closed; messages from `number` on may not be fetched any more
  kCloseRecv,  // to a sending end: nobody will take its messages
  kAbort,      // communicators `comm` up to `epoch` have ended
  kGone,       // the endpoint is destroyed
};

// The whole key of a channel rides along, so that no two channels can ever be taken for each other.
struct Envelope {
  uint64_t comm;
  uint64_t order;
  uint32_t epoch;
  uint32_t from;  // endpoint serials, each within its own process
  uint32_t to;
  Plane plane;
  PacketKind kind;
  uint8_t has_header;
  uint8_t unused;
  uint32_t incarnation;  // of the sending end: tells a channel from an earlier one with its key
  uint32_t tag;
  uint64_t number;  // of the message since its channel was opened
  uint64_t bytes;   // of the whole message
  uint64_t offset;  // of this packet's part
  OpHeader header;
};
static_assert(sizeof(Envelope) == 80);

// A packet stays below what Open MPI sends eagerly between processes of a host (4096 bytes, its own
// header included): 3900 bytes take 1 us there, 8192 bytes 20 us.
inline constexpr size_t kPacketBytes = 4000;
inline constexpr size_t kInlineBytes = kPacketBytes - sizeof(Envelope);

// An endpoint anywhere in the job.
struct MpiPeer {
  int rank;         // of its process in MPI_COMM_WORLD
  uint32_t serial;  // of the endpoint in its process
  bool operator==(const MpiPeer&) const = default;
};

// One order of messages that arrives at an endpoint.
struct StreamKey {
  MpiPeer peer;
  uint64_t comm;
  uint64_t order;
  uint32_t epoch;
  Plane plane;
  bool operator==(const StreamKey&) const = default;
};

struct StreamKeyHash {
  size_t operator()(const StreamKey& key) const;
};

inline StreamKey stream_key(const MpiPeer& peer, const ChannelKey& key) {
  return {peer, key.comm, key.order, key.epoch, key.plane};
}

// Addresses. `job`: a number that all processes of one MPI job share and no other job has.
std::string encode_address(uint64_t job, const MpiPeer& peer);
struct DecodedAddress {
  uint64_t job;
  MpiPeer peer;
};
std::optional<DecodedAddress> decode_address(std::string_view address);

}  // namespace tutti
