#include "transports/shm/wire.h"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/uio.h>
#include <utility>

#include "comm/base/bytes.h"

namespace tutti {
namespace {

constexpr std::string_view kPrefix = "shm1:";

std::string_view text_of(const ShmNonce& nonce) {
  return {reinterpret_cast<const char*>(nonce.data()), nonce.size()};
}

constexpr size_t kRoomBytes = CMSG_SPACE(kMostRecordFds * sizeof(int));

// All of them, and those that a stranger sends beyond what fits in our records are closed.
void take_fds(msghdr* message, RecordFds* fds) {
  size_t taken = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(message); c != nullptr; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int number;
      std::memcpy(&number, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      UniqueFd fd(number);
      if (taken < fds->size()) (*fds)[taken++] = std::move(fd);
    }
  }
}

}  // namespace

std::string ShmAddress::encode() const {
  return std::string(kPrefix) +
         BytesWriter().number(number).number(probe).raw(text_of(nonce)).take();
}

std::optional<ShmAddress> ShmAddress::decode(std::string_view bytes) {
  if (bytes.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  BytesReader in(bytes.substr(kPrefix.size()));
  ShmAddress address;
  address.number = in.number<uint32_t>();
  address.probe = in.number<uint64_t>();
  const std::string_view nonce = in.raw(address.nonce.size());
  if (!in.ok() || nonce.size() != address.nonce.size() || bytes.size() != address.encode().size()) {
    return std::nullopt;
  }
  std::memcpy(address.nonce.data(), nonce.data(), nonce.size());
  return address;
}

std::string ShmAddress::socket_name() const {
  std::string name = "tutti-shm-";
  for (uint8_t byte : nonce) {
    name += "0123456789abcdef"[byte >> 4];
    name += "0123456789abcdef"[byte & 15];
  }
  return name;
}

Digest shm_proof(const Secret& secret, const ShmNonce& mine, const ShmNonce& theirs) {
  return hmac(secret, "tutti shm link" + std::string(text_of(mine)) + std::string(text_of(theirs)));
}

int send_record(int socket, const ShmRecord& record, std::span<const int> fds) {
  iovec part{const_cast<ShmRecord*>(&record), sizeof(record)};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char room[kRoomBytes] = {};
  if (!fds.empty()) {
    message.msg_control = room;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(control), fds.data(), fds.size_bytes());
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof(record)) ? 0 : errno;
}

// The socket is full, or too many descriptors of this user are on their way (unix(7)).
bool may_clear(int why) { return why == EAGAIN || why == EWOULDBLOCK || why == ETOOMANYREFS; }

ShmReceived receive_record(int socket, ShmRecord* record, RecordFds* fds) {
  iovec part{record, sizeof(*record)};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char room[kRoomBytes] = {};
  message.msg_control = room;
  message.msg_controllen = sizeof(room);
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return ShmReceived::kNothing;
  if (got < 0) return ShmReceived::kEnd;
  take_fds(&message, fds);
  // Another length is no record of ours: as good as gone.
  const bool whole =
      got == static_cast<ssize_t>(sizeof(*record)) && (message.msg_flags & MSG_TRUNC) == 0;
  if (!whole) return ShmReceived::kEnd;
  return (message.msg_flags & MSG_CTRUNC) != 0 ? ShmReceived::kCut : ShmReceived::kRecord;
}

}  // namespace tutti
