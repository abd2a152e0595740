#include "comm/bootstrap/job_id.h"

#include <cstring>
#include <netinet/in.h>

#include "comm/base/bytes.h"
#include "comm/base/check.h"
#include "comm/base/hash.h"

namespace tutti {
namespace {

constexpr std::string_view kMagic("TUTTIID\x01", 8);
constexpr size_t kHead = 16;  // magic and checksum

void write_address(const SocketAddress& address, BytesWriter* out) {
  char host[16] = {};
  const bool v4 = address.family() == AF_INET;
  if (v4) {
    std::memcpy(host, &reinterpret_cast<const sockaddr_in*>(address.get())->sin_addr, 4);
  } else {
    std::memcpy(host, &reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_addr, 16);
  }
  out->number(uint8_t{v4 ? uint8_t{4} : uint8_t{6}}).number(address.port()).raw({host, 16});
}

Result<SocketAddress> read_address(BytesReader* in) {
  const auto kind = in->number<uint8_t>();
  const auto port = in->number<uint16_t>();
  const std::string_view host = in->raw(16);
  if (!in->ok() || (kind != 4 && kind != 6) || port == 0) {
    return error(Code::kInvalidArgument, "no address");
  }
  if (kind == 4) {
    sockaddr_in v4 = {};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, host.data(), 4);
    return SocketAddress(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  }
  sockaddr_in6 v6 = {};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, host.data(), 16);
  return SocketAddress(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

}  // namespace

std::string JobId::encode() const {
  TUTTI_CHECK(!candidates.empty() && candidates.size() <= kMaxCandidates, "1 to 4 candidates");
  BytesWriter body;
  body.raw({reinterpret_cast<const char*>(secret.data()), secret.size()});
  body.number(static_cast<uint8_t>(candidates.size()));
  for (const SocketAddress& candidate : candidates) write_address(candidate, &body);
  std::string padded = body.take();
  padded.resize(kBytes - kHead, '\0');
  BytesWriter whole;
  whole.raw(kMagic).number(hash64(padded.data(), padded.size())).raw(padded);
  return whole.take();
}

Result<JobId> JobId::decode(std::string_view bytes) {
  const Status bad =
      error(Code::kInvalidArgument, "the unique id was not made by tuttiGetUniqueId");
  if (bytes.size() != kBytes) return bad;
  BytesReader in(bytes);
  if (in.raw(kMagic.size()) != kMagic) return bad;
  const auto checksum = in.number<uint64_t>();
  const std::string_view body = bytes.substr(kHead);
  if (checksum != hash64(body.data(), body.size())) return bad;
  JobId id;
  const std::string_view secret = in.raw(id.secret.size());
  std::memcpy(id.secret.data(), secret.data(), secret.size());
  const auto candidates = in.number<uint8_t>();
  if (candidates < 1 || candidates > kMaxCandidates) return bad;
  for (int i = 0; i < candidates; ++i) {
    Result<SocketAddress> address = read_address(&in);
    if (!address.ok()) return bad;
    id.candidates.push_back(address.value());
  }
  return id;
}

}  // namespace tutti
