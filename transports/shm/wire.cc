#include "transports/shm/wire.h"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/uio.h>

#include "comm/base/bytes.h"

namespace tutti {
namespace {

constexpr std::string_view kPrefix = "shm1:";

std::string_view text_of(const ShmNonce& nonce) {
  return {reinterpret_cast<const char*>(nonce.data()), nonce.size()};
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

bool send_record(int socket, const ShmRecord& record, int fd) {
  iovec part{const_cast<ShmRecord*>(&record), sizeof(record)};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  if (fd >= 0) {
    message.msg_control = room;
    message.msg_controllen = sizeof(room);
    cmsghdr* control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(control), &fd, sizeof(int));
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof(record));
}

ShmReceived receive_record(int socket, ShmRecord* record, UniqueFd* fd) {
  iovec part{record, sizeof(*record)};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  message.msg_control = room;
  message.msg_controllen = sizeof(room);
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return ShmReceived::kNothing;
  const cmsghdr* control = got < 0 ? nullptr : CMSG_FIRSTHDR(&message);
  if (control != nullptr && control->cmsg_type == SCM_RIGHTS) {
    int number;
    std::memcpy(&number, CMSG_DATA(control), sizeof(int));
    fd->reset(number);
  }
  // Another length is no record of ours: as good as gone.
  return got == static_cast<ssize_t>(sizeof(*record)) ? ShmReceived::kRecord : ShmReceived::kEnd;
}

}  // namespace tutti
