// FaultTransport: a transport that misbehaves as far as the seam allows, to test what stands on it.
//
// Delays, spurious refusals, hidden capabilities and fewer slots change timing only: a correct user
// gets the same bytes. A dropped message and a killed endpoint must end in an error, never in wrong
// data or a hang. Every channel draws from its own generator, seeded by (seed, key, direction), so
// what it does depends only on the seed and the sequence of calls on that channel.
//
// Threads: as transport.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "comm/base/mutex.h"
#include "transports/transport.h"

namespace tutti {

// Message `number` of the send channel named by the other fields never arrives; as channels are in
// order, nor does anything posted after it.
struct DropRule {
  Plane plane = Plane::kCollective;
  int peer = 0;
  uint64_t order = 0;
  uint64_t number = 0;
};

struct FaultOptions {
  uint64_t seed = 1;
  double delay = 0;               // probability that an arrived message stays hidden for some polls
  uint32_t max_delay_polls = 16;  // drawn from 1 to this many
  double stall = 0;         // probability that a call that could report something reports nothing
  double hide_offer = 0;    // probability that an offer is not passed on
  bool hide_view = false;   // no view, and the capabilities say so
  bool hide_place = false;  // no place, and the capabilities say so
  uint32_t slots = 0;       // fewer slots than the transport has; 0: as many
  std::optional<DropRule> drop;
  uint64_t kill_at = 0;  // the endpoint dies at this call on its channels (1 = first); 0: never
};

class FaultTransport final : public Transport {
 public:
  FaultTransport(std::unique_ptr<Transport> inner, const FaultOptions& options);
  ~FaultTransport() override;

  const char* name() const override { return inner_->name(); }
  const Capabilities& capabilities() const override { return capabilities_; }
  std::string address() const override { return inner_->address(); }
  Status connect(int peer, std::string_view address) override;
  Status settle() override { return inner_->settle(); }
  Result<std::unique_ptr<SendChannel>> open_send(const ChannelKey& key) override;
  Result<std::unique_ptr<RecvChannel>> open_recv(const ChannelKey& key) override;
  Result<std::unique_ptr<KernelGate>> open_gate(uint64_t comm) override {
    return inner_->open_gate(comm);
  }
  Result<void*> alloc(size_t bytes) override { return inner_->alloc(bytes); }
  void free(void* base) override { inner_->free(base); }
  Status register_memory(void* base, size_t bytes, bool remap, uint64_t* handle) override;
  Status deregister_memory(uint64_t handle) override;
  bool is_shared(const void* base, size_t bytes) const override {
    return inner_->is_shared(base, bytes);
  }
  void progress() override;
  int wait_fd() const override { return inner_->wait_fd(); }
  void begin_wait() override { inner_->begin_wait(); }
  void end_wait() override { inner_->end_wait(); }
  void abort(uint64_t comm) override { inner_->abort(comm); }
  std::string still_lent(uint64_t comm) const override { return inner_->still_lent(comm); }
  Status finalize() override { return inner_->finalize(); }

  // For its channels. Counts one call; at call `kill_at` aborts every communicator that was opened.
  // True once the endpoint is dead.
  bool step();
  bool dead() const { return dead_.load(std::memory_order_acquire); }
  const FaultOptions& options() const { return options_; }

 private:
  Status note_open(const ChannelKey& key);

  const std::unique_ptr<Transport> inner_;
  const FaultOptions options_;
  Capabilities capabilities_;
  std::atomic<uint64_t> steps_{0};
  std::atomic<bool> dead_{false};
  Mutex mutex_;
  std::set<uint64_t> comms_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
