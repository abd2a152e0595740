// What the two ends of a link say to each other over their unix socket, one record each
// (SOCK_SEQPACKET), with a descriptor beside it where there is something to map; and the address by
// which an endpoint is found.
//
// An address holds a fresh nonce. Whoever connects proves with it that it knows the job secret: the
// addresses have come to it through the authenticated bootstrap, and it answers the nonce in them.
// The other side answers the same way. Values and pure functions, but for send and receive, which
// never wait.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "comm/base/status.h"
#include "comm/base/unique_fd.h"
#include "comm/net/secret.h"

namespace tutti {

using ShmNonce = std::array<uint8_t, 16>;

struct ShmAddress {
  uint32_t number = 0;  // of the endpoint
  uint64_t probe = 0;   // where its process keeps the nonce, for whoever may read its memory
  ShmNonce nonce = {};

  std::string encode() const;
  static std::optional<ShmAddress> decode(std::string_view bytes);
  std::string socket_name() const;  // abstract: no file, gone with the process
};

// kDoor brings the bell's descriptor, where there is one.
enum class ShmRecordKind : uint32_t { kHello = 1, kWelcome, kRegion, kDoor };

struct ShmRecord {
  ShmRecordKind kind;
  uint32_t slot;        // kRegion, kDoor: where its owner keeps it; kHello: number of the endpoint
  uint32_t generation;  // of the region
  uint32_t unused;
  uint64_t bytes;   // kHello: of the link's segment; kRegion: of the region
  uint64_t offset;  // of the region in its file
  ShmNonce nonce;   // kHello: of the endpoint that connects
  Digest proof;     // kHello, kWelcome
};
static_assert(sizeof(ShmRecord) == 80);

// What the end with the nonce `mine` proves to the one with the nonce `theirs`.
Digest shm_proof(const Secret& secret, const ShmNonce& mine, const ShmNonce& theirs);

// False when the socket is full or gone.
bool send_record(int socket, const ShmRecord& record, int fd);

enum class ShmReceived : uint8_t { kRecord, kNothing, kEnd };
ShmReceived receive_record(int socket, ShmRecord* record, UniqueFd* fd);

}  // namespace tutti
