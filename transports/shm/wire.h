// What the two ends of a link say to each other over their unix socket, one record each
// (SOCK_SEQPACKET), with descriptors beside it of what there is to map; and the address by which an
// endpoint is found.
//
// An address holds a fresh nonce. Whoever connects proves with it that it knows the job secret: the
// addresses have come to it through the authenticated bootstrap, and it answers the nonce in them.
// The other side answers the same way. Values and pure functions, but for send and receive, which
// never wait.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
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

// Descriptors: kHello, kWelcome: of the door's file, of the bell where there is one, and, kHello,
// of the link's segment; kRegion: of its file.
enum class ShmRecordKind : uint32_t { kHello = 1, kWelcome, kRegion };

struct ShmRecord {
  ShmRecordKind kind;
  uint32_t slot;        // kRegion: where its owner keeps it
  uint32_t generation;  // of the region
  uint32_t has_bell;    // kHello, kWelcome: 1 when the descriptor of one is there
  uint64_t bytes;       // kHello: of the link's segment; kRegion: of the region
  uint64_t offset;      // of the region, or of the door, in its file
  int64_t node;         // kHello, kWelcome: the memory node of its rank; -1: it does not care
  ShmNonce nonce;       // kHello: of the endpoint that connects
  Digest proof;         // kHello, kWelcome
};
static_assert(sizeof(ShmRecord) == 88);

// What the end with the nonce `mine` proves to the one with the nonce `theirs`.
Digest shm_proof(const Secret& secret, const ShmNonce& mine, const ShmNonce& theirs);

inline constexpr size_t kMostRecordFds = 3;
using RecordFds = std::array<UniqueFd, kMostRecordFds>;

// 0, or an errno; may_clear() tells whether that may pass when the peer has read more.
int send_record(int socket, const ShmRecord& record, std::span<const int> fds);
bool may_clear(int why);

// kCut: this process could not take the descriptors; the record is there.
enum class ShmReceived : uint8_t { kRecord, kCut, kNothing, kEnd };
ShmReceived receive_record(int socket, ShmRecord* record, RecordFds* fds);

}  // namespace tutti
