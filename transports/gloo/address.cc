#include "transports/gloo/address.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "comm/base/unique_fd.h"
#include "transports/gloo/record.h"

namespace tutti {
namespace {

// "TutGloo" and a version; the sizes make other builds and other byte orders differ.
constexpr uint64_t kMagic = 0x01006f6f6c477554;

struct AddressHead {
  uint64_t magic;
  uint32_t record_bytes;
  uint32_t eager_bytes;
  uint32_t number;
  uint32_t nranks;
  uint32_t pair_bytes;  // of each address that follows, kPairs per peer, in order of the peers
  uint32_t unused;
};

Status malformed(int peer, const char* what) {
  return error(Code::kInvalidArgument, "gloo: the bytes given for peer %d are no address: %s", peer,
               what);
}

sockaddr_storage socket_address(const std::vector<char>& bytes) {
  sockaddr_storage out{};
  std::memcpy(&out, bytes.data(), std::min(sizeof(out), bytes.size()));
  return out;
}

}  // namespace

Status check_host(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (failed != 0) return error(Code::kInvalidArgument, "%s", gai_strerror(failed));
  const UniqueFd fd(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const bool bound = fd.valid() && bind(fd.get(), found->ai_addr, found->ai_addrlen) == 0;
  const int reason = errno;
  freeaddrinfo(found);
  if (bound) return Status();
  return error(Code::kSystemError, "%s", std::strerror(reason));
}

std::string encode_address(int number, const std::vector<PairAddresses>& pairs) {
  AddressHead head{kMagic,
                   sizeof(Record),
                   kEagerBytes,
                   static_cast<uint32_t>(number),
                   static_cast<uint32_t>(pairs.size()),
                   0,
                   0};
  std::string body;
  for (size_t r = 0; r < pairs.size(); ++r) {
    if (r == static_cast<size_t>(number)) continue;
    for (const std::vector<char>& pair : pairs[r]) {
      head.pair_bytes = static_cast<uint32_t>(pair.size());
      body.append(pair.data(), pair.size());
    }
  }
  return std::string(reinterpret_cast<const char*>(&head), sizeof(head)) + body;
}

Result<PairAddresses> decode_address(std::string_view address, int peer, int number, int nranks,
                                     const PairAddresses& own) {
  AddressHead head;
  if (address.size() < sizeof(head)) return malformed(peer, "too short");
  std::memcpy(&head, address.data(), sizeof(head));
  if (head.magic != kMagic || head.record_bytes != sizeof(Record) ||
      head.eager_bytes != kEagerBytes) {
    return malformed(peer, "not of this transport and build");
  }
  if (head.number != static_cast<uint32_t>(peer)) return malformed(peer, "of another endpoint");
  if (head.nranks != static_cast<uint32_t>(nranks)) return malformed(peer, "for another size");
  const size_t each = own[0].size();
  if (head.pair_bytes != each || each < sizeof(sockaddr_in)) return malformed(peer, "odd pieces");
  if (address.size() != sizeof(head) + kPairs * each * static_cast<size_t>(nranks - 1)) {
    return malformed(peer, "of a wrong length");
  }
  const int before = number < peer ? number : number - 1;  // pieces in front of ours
  PairAddresses out;
  for (size_t k = 0; k < out.size(); ++k) {
    const char* from =
        address.data() + sizeof(head) + (kPairs * static_cast<size_t>(before) + k) * each;
    out[k].assign(from, from + each);
    const sockaddr_storage theirs = socket_address(out[k]);
    const sockaddr_storage ours = socket_address(own[k]);
    if (theirs.ss_family != ours.ss_family) return malformed(peer, "another address family");
    in_port_t port;
    std::memcpy(&port, from + offsetof(sockaddr_in, sin_port), sizeof(port));
    if (port == 0) return malformed(peer, "no port");
    if (out[k] == own[k]) return malformed(peer, "our own");
  }
  return out;
}

// Gloo's rule: the greater host, and for equal hosts the greater port (as the bytes of the network
// order read here) connects.
bool connects(const std::vector<char>& own, const std::vector<char>& peer) {
  const sockaddr_storage a = socket_address(own);
  const sockaddr_storage b = socket_address(peer);
  int order;
  in_port_t ports[2];
  if (a.ss_family == AF_INET) {
    const auto& x = reinterpret_cast<const sockaddr_in&>(a);
    const auto& y = reinterpret_cast<const sockaddr_in&>(b);
    order = std::memcmp(&x.sin_addr, &y.sin_addr, sizeof(x.sin_addr));
    ports[0] = x.sin_port;
    ports[1] = y.sin_port;
  } else {
    const auto& x = reinterpret_cast<const sockaddr_in6&>(a);
    const auto& y = reinterpret_cast<const sockaddr_in6&>(b);
    order = std::memcmp(&x.sin6_addr, &y.sin6_addr, sizeof(x.sin6_addr));
    ports[0] = x.sin6_port;
    ports[1] = y.sin6_port;
  }
  return order != 0 ? order > 0 : ports[0] > ports[1];
}

}  // namespace tutti
