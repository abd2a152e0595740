// The communicators of n ranks of one process over transports that misbehave.
#pragma once

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "comm/device/host_device.h"
#include "comm/runtime/communicator.h"
#include "comm/runtime/inproc_control.h"
#include "transports/decorators/fault.h"
#include "transports/inproc/domain.h"
#include "transports/inproc/inproc.h"

namespace tutti {

class FaultTeam {
 public:
  FaultTeam() : device_(std::move(Device::open(host_device_api(), 0).value())) {}

  // n ranks; `faults[r]` for rank r, the last for all further ones.
  void make(int n, const std::vector<FaultOptions>& faults, double timeout_seconds = 30) {
    comms_.clear();
    const auto domain = InprocDomain::create();
    const auto board = std::make_shared<Board>(n);
    std::vector<std::shared_ptr<Transport>> transports;
    std::vector<int> peers;
    for (int r = 0; r < n; ++r) {
      FaultOptions own = faults[std::min(faults.size() - 1, static_cast<size_t>(r))];
      own.seed += static_cast<uint64_t>(r);
      transports.push_back(
          std::make_shared<FaultTransport>(std::make_unique<InprocTransport>(domain, r), own));
      peers.push_back(r);
    }
    for (int r = 0; r < n; ++r) {
      for (int p = 0; p < n; ++p) {
        if (p == r) continue;
        const Status connected = transports[static_cast<size_t>(r)]->connect(
            p, transports[static_cast<size_t>(p)]->address());
        ASSERT_TRUE(connected.ok()) << connected.text();
      }
      CommunicatorParts parts;
      parts.id = 77;
      parts.rank = r;
      parts.peers = std::vector<int>(static_cast<size_t>(n));
      for (int p = 0; p < n; ++p) parts.peers[static_cast<size_t>(p)] = p;
      parts.transport = transports[static_cast<size_t>(r)];
      parts.control = std::make_unique<InprocControl>(board, r);
      parts.config = load_config({}).value();
      parts.config.timeout_ns = static_cast<int64_t>(timeout_seconds * 1e9);
      parts.device = &device_;
      parts.cache_bytes = size_t{32} << 20;
      comms_.push_back(std::move(Communicator::create(std::move(parts)).value()));
    }
  }
  Communicator& at(int rank) { return *comms_[static_cast<size_t>(rank)]; }
  int size() const { return static_cast<int>(comms_.size()); }

  template <typename Function>
  void on_ranks(Function fn) {
    std::vector<std::thread> threads;
    for (int r = 0; r < size(); ++r) threads.emplace_back([&fn, r, this] { fn(r, at(r)); });
    for (std::thread& thread : threads) thread.join();
  }

 private:
  Device device_;
  std::vector<std::unique_ptr<Communicator>> comms_;
};

}  // namespace tutti
