// LaneChannels: the channels of one communicator and plane by (peer, lane), opened when a plan
// first asks for them and kept. Thread: the holder of the communicator's drive mutex.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "comm/exec/plan.h"

namespace tutti {

class LaneChannels final : public ChannelSource {
 public:
  // `peers[r]`: transport-wide number of rank r. `series` tells users of one plane apart: lane l is
  // order series << 32 | l. References outlive this.
  LaneChannels(Transport& transport, uint64_t comm_id, Plane plane, uint32_t series,
               const std::vector<int>& peers)
      : transport_(transport), comm_id_(comm_id), plane_(plane), series_(series), peers_(peers) {}

  Result<SendChannel*> send_channel(int peer, uint32_t lane) override;
  Result<RecvChannel*> recv_channel(int peer, uint32_t lane) override;
  // The rank to which a channel could not be opened, or -1.
  int failed_peer() const { return failed_peer_; }

 private:
  ChannelKey key(int peer, uint32_t lane) const {
    return {comm_id_, 0, plane_, peers_[static_cast<size_t>(peer)], uint64_t{series_} << 32 | lane};
  }

  Transport& transport_;
  const uint64_t comm_id_;
  const Plane plane_;
  const uint32_t series_;
  const std::vector<int>& peers_;
  int failed_peer_ = -1;
  std::unordered_map<uint64_t, std::unique_ptr<SendChannel>> sends_;  // by lane << 32 | peer
  std::unordered_map<uint64_t, std::unique_ptr<RecvChannel>> recvs_;
};

}  // namespace tutti
