#include "transports/mpi/wire.h"

#include <cstring>

namespace tutti {
namespace {

struct AddressBytes {
  char magic[4];
  int32_t rank;
  uint64_t job;
  uint32_t serial;
  uint32_t zero;
};
static_assert(sizeof(AddressBytes) == 24);
constexpr char kMagic[4] = {'m', 'p', 'i', '1'};

}  // namespace

size_t StreamKeyHash::operator()(const StreamKey& key) const {
  uint64_t h = key.comm * 0x9e3779b97f4a7c15;
  h = (h ^ (h >> 29) ^ key.order) * 0xbf58476d1ce4e5b9;
  h ^= (uint64_t{key.epoch} << 8 | static_cast<uint64_t>(key.plane)) * 0x94d049bb133111eb;
  h = (h ^ (h >> 32) ^ (uint64_t{key.peer.serial} << 32 | static_cast<uint32_t>(key.peer.rank))) *
      0xbf58476d1ce4e5b9;
  return h ^ (h >> 31);
}

std::string encode_address(uint64_t job, const MpiPeer& peer) {
  AddressBytes bytes = {};
  std::memcpy(bytes.magic, kMagic, sizeof(kMagic));
  bytes.rank = peer.rank;
  bytes.job = job;
  bytes.serial = peer.serial;
  return std::string(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
}

std::optional<DecodedAddress> decode_address(std::string_view address) {
  AddressBytes bytes;
  if (address.size() != sizeof(bytes)) return std::nullopt;
  std::memcpy(&bytes, address.data(), sizeof(bytes));
  if (std::memcmp(bytes.magic, kMagic, sizeof(kMagic)) != 0 || bytes.rank < 0) return std::nullopt;
  return DecodedAddress{bytes.job, {bytes.rank, bytes.serial}};
}

}  // namespace tutti
