// A group of ranks without a runtime: endpoints of one process, a plan and an execution per rank,
// and the data of one collective. Driven by one thread, rank by rank, so that every run is the
// same; or by a thread per rank.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/base/clock.h"
#include "comm/base/wait.h"
#include "comm/device/host_device.h"
#include "comm/exec/execution.h"
#include "comm/schedule/catalog.h"
#include "comm/schedule/contract.h"
#include "transports/decorators/fault.h"
#include "transports/inproc/inproc.h"

namespace tutti {

// The channels of one rank, opened when a plan asks for them.
class Channels final : public ChannelSource {
 public:
  explicit Channels(Transport& transport) : transport_(transport) {}
  Result<SendChannel*> send_channel(int peer, uint32_t lane) override {
    auto& channel = sends_[{peer, lane}];
    if (!channel) {
      auto opened = transport_.open_send({1, 0, Plane::kCollective, peer, lane});
      if (!opened.ok()) return opened.status();
      channel = std::move(opened.value());
    }
    return channel.get();
  }
  Result<RecvChannel*> recv_channel(int peer, uint32_t lane) override {
    auto& channel = recvs_[{peer, lane}];
    if (!channel) {
      auto opened = transport_.open_recv({1, 0, Plane::kCollective, peer, lane});
      if (!opened.ok()) return opened.status();
      channel = std::move(opened.value());
    }
    return channel.get();
  }

 private:
  Transport& transport_;
  std::map<std::pair<int, uint32_t>, std::unique_ptr<SendChannel>> sends_;
  std::map<std::pair<int, uint32_t>, std::unique_ptr<RecvChannel>> recvs_;
};

// What is run. counts[s][d] are the elements of block d of rank s where blocks differ: for gathers
// and all-gathers counts[r][0] is rank r's, for scatters and reduce-scatters counts[0][d] block
// d's.
struct Job {
  const Algorithm* algorithm = nullptr;
  int nranks = 2;
  int root = 0;
  int pieces = 1;
  size_t count = 0;
  std::vector<std::vector<size_t>> counts;  // empty: all blocks have `count`
  size_t scratch_cap = size_t{64} << 20;
  std::vector<bool> in_place;  // by rank; empty: none
  bool is_in_place(int rank) const {
    return !in_place.empty() && in_place[static_cast<size_t>(rank)];
  }
};

inline constexpr size_t kGap = 5;         // elements between blocks that differ
inline constexpr int32_t kGuard = -7777;  // around and between results

// One rank: its memory and how its blocks lie in it.
struct RankData {
  BlockList input;
  BlockList output;
  std::vector<int32_t> memory_in;   // input buffer, with guards
  std::vector<int32_t> memory_out;  // output buffer, with guards; holds the input too when in place
  std::vector<char> scratch;
  int32_t* in = nullptr;
  int32_t* out = nullptr;
};

class ExecGroup {
 public:
  explicit ExecGroup(int n, const FaultOptions& faults = {});

  // Binds, fills the buffers and starts; then advances all ranks in turn until all are done.
  void run(const Job& job);
  // The same with a thread per rank.
  void run_threads(const Job& job);
  const Execution& execution(int rank) const { return *executions_[static_cast<size_t>(rank)]; }
  const Plan& plan(int rank) const { return *plans_[static_cast<size_t>(rank)]; }

 private:
  void start(const Job& job);
  void bind(const Job& job, int rank, uint32_t scratch_slots);
  void fill(const Job& job, int rank);
  void check(const Job& job, int rank) const;
  int32_t expected(const Job& job, int rank, uint32_t block, size_t i) const;

  int n_;
  Device device_;
  OpenGate gate_;
  std::shared_ptr<InprocDomain> domain_;
  std::vector<std::unique_ptr<Transport>> transports_;
  std::vector<std::unique_ptr<Channels>> channels_;
  std::vector<std::unique_ptr<Execution>> executions_;
  std::vector<std::unique_ptr<Plan>> plans_;
  std::vector<RankData> data_;
  uint32_t sequence_ = 0;
};

}  // namespace tutti
