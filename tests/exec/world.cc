#include "tests/exec/world.h"

#include <algorithm>

#include "comm/base/check.h"
#include "comm/device/host_device.h"

namespace tutti {

namespace {

constexpr uint64_t kComm = 11;

ChannelKey key_of(int peer, uint32_t lane) { return {kComm, 0, Plane::kCollective, peer, lane}; }

}  // namespace

Result<SendChannel*> WorldChannels::send_channel(int peer, uint32_t lane) {
  std::unique_ptr<SendChannel>& channel = sends_[{peer, lane}];
  if (!channel) {
    auto opened = transport_.open_send(key_of(peer, lane));
    if (!opened.ok()) return opened.status();
    channel = std::move(opened.value());
  }
  return channel.get();
}

Result<RecvChannel*> WorldChannels::recv_channel(int peer, uint32_t lane) {
  std::unique_ptr<RecvChannel>& channel = recvs_[{peer, lane}];
  if (!channel) {
    auto opened = transport_.open_recv(key_of(peer, lane));
    if (!opened.ok()) return opened.status();
    channel = std::move(opened.value());
  }
  return channel.get();
}

World::World(int nranks, const std::function<FaultOptions(int)>& options_of)
    : domain_(InprocDomain::create()) {
  for (int r = 0; r < nranks; ++r) {
    transports_.push_back(std::make_unique<FaultTransport>(
        std::make_unique<InprocTransport>(domain_, r), options_of(r)));
  }
  for (int r = 0; r < nranks; ++r) {
    FaultTransport& mine = *transports_[static_cast<size_t>(r)];
    for (int p = 0; p < nranks; ++p) {
      if (p == r) continue;
      const Status status = mine.connect(p, transports_[static_cast<size_t>(p)]->address());
      TUTTI_CHECK(status.ok(), "endpoints of one domain can connect");
    }
    channels_.push_back(std::make_unique<WorldChannels>(mine));
  }
}

const Device& host() {
  static const Result<Device> device = Device::open(host_device_api(), 0);
  return device.value();
}

uint32_t most_slots(const Algorithm& algorithm, int nranks, int root, int pieces) {
  uint32_t most = 0;
  Schedule schedule;
  for (int rank = 0; rank < nranks; ++rank) {
    for (const bool in_place : {false, true}) {
      Params params;
      params.nranks = nranks;
      params.rank = rank;
      params.root = root;
      params.pieces = pieces;
      params.in_place = in_place;
      algorithm.build(params, &schedule);
      most = std::max(most, schedule.shape.scratch_slots);
    }
  }
  return most;
}

}  // namespace tutti
