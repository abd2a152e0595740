// World: the ranks of one test, all driven by one thread, each over its own inproc endpoint that
// may misbehave. Deterministic: nothing waits, and what the endpoints do follows from their
// options.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "comm/exec/execution.h"
#include "comm/exec/plan.h"
#include "comm/schedule/catalog.h"
#include "transports/decorators/fault.h"
#include "transports/inproc/inproc.h"

namespace tutti {

// The channels of one rank, opened when first asked for, as a communicator does.
class WorldChannels final : public ChannelSource {
 public:
  explicit WorldChannels(Transport& transport) : transport_(transport) {}
  Result<SendChannel*> send_channel(int peer, uint32_t lane) override;
  Result<RecvChannel*> recv_channel(int peer, uint32_t lane) override;

 private:
  Transport& transport_;
  std::map<std::pair<int, uint32_t>, std::unique_ptr<SendChannel>> sends_;
  std::map<std::pair<int, uint32_t>, std::unique_ptr<RecvChannel>> recvs_;
};

class World {
 public:
  explicit World(
      int nranks,
      const std::function<FaultOptions(int)>& options_of = [](int) { return FaultOptions(); });
  int nranks() const { return static_cast<int>(transports_.size()); }
  const Capabilities& capabilities(int rank) const { return at(transports_, rank).capabilities(); }
  ChannelSource& channels(int rank) { return *channels_[static_cast<size_t>(rank)]; }

 private:
  static const Transport& at(const std::vector<std::unique_ptr<FaultTransport>>& all, int rank) {
    return *all[static_cast<size_t>(rank)];
  }
  std::shared_ptr<InprocDomain> domain_;
  std::vector<std::unique_ptr<FaultTransport>> transports_;
  std::vector<std::unique_ptr<WorldChannels>> channels_;
};

// Lets everybody in, and notices a kernel that does not leave or runs inside another.
class WatchedGate final : public KernelGate {
 public:
  bool enter() override {
    nested_ = nested_ || inside_;
    inside_ = true;
    return true;
  }
  void leave() override { inside_ = false; }
  bool clean() const { return !inside_ && !nested_; }

 private:
  bool inside_ = false;
  bool nested_ = false;
};

const Device& host();

// Scratch slots that every rank must count with, in place or not.
uint32_t most_slots(const Algorithm& algorithm, int nranks, int root, int pieces);

}  // namespace tutti
