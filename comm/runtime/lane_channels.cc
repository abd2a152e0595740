#include "comm/runtime/lane_channels.h"

#include <utility>

namespace tutti {
namespace {

// The transport knows its peers by other numbers.
Status of_rank(int rank, const Status& why) {
  return error(why.code(), "rank %d: %s", rank, why.text().c_str());
}

uint64_t index_of(int peer, uint32_t lane) {
  return uint64_t{lane} << 32 | static_cast<uint32_t>(peer);
}

}  // namespace

Result<SendChannel*> LaneChannels::send_channel(int peer, uint32_t lane) {
  std::unique_ptr<SendChannel>& channel = sends_[index_of(peer, lane)];
  if (!channel) {
    auto opened = transport_.open_send(key(peer, lane));
    if (!opened.ok()) {
      failed_peer_ = peer;
      return of_rank(peer, opened.status());
    }
    channel = std::move(opened.value());
  }
  return channel.get();
}

Result<RecvChannel*> LaneChannels::recv_channel(int peer, uint32_t lane) {
  std::unique_ptr<RecvChannel>& channel = recvs_[index_of(peer, lane)];
  if (!channel) {
    auto opened = transport_.open_recv(key(peer, lane));
    if (!opened.ok()) {
      failed_peer_ = peer;
      return of_rank(peer, opened.status());
    }
    channel = std::move(opened.value());
  }
  return channel.get();
}

}  // namespace tutti
