// InprocTransport: ranks as threads of one process.
//
// One endpoint per rank. Messages travel through rings in ordinary memory (ring/ring.h), the
// protocol of the shared-memory transport, so that debuggers and thread sanitizers see all of it.
// Progress needs no help: progress() does nothing. Offers of up to kLineBytes are ignored: such
// messages ride in the ring.
//
// Destroying an endpoint is how a rank dies here: its peers' channels say kRemoteError. Channels
// may outlive their endpoint but are then of no use. After the end of an endpoint a peer that
// already holds a view or a placed address may still touch that memory until it looks again.
// Memory from alloc() therefore outlives its endpoint; other lent memory is the caller's to keep.
//
// Threads: as transport.h; open_*, connect, alloc and register may be called by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "comm/base/mutex.h"
#include "transports/inproc/domain.h"
#include "transports/registrations.h"
#include "transports/ring/channel.h"
#include "transports/transport.h"

namespace tutti {

class InprocTransport final : public Transport {
 public:
  // `number`: of this endpoint in the domain, for texts and the address.
  // `crowded`: more ranks than cores.
  InprocTransport(std::shared_ptr<InprocDomain> domain, int number, bool crowded = false);
  ~InprocTransport() override;
  InprocTransport(const InprocTransport&) = delete;
  InprocTransport& operator=(const InprocTransport&) = delete;

  const char* name() const override { return "inproc"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  std::string address() const override;
  // kInvalidArgument for bytes that are no address, kRemoteError for an endpoint that is gone,
  // kInvalidUsage when `peer` is connected to another endpoint.
  Status connect(int peer, std::string_view address) override;
  Result<std::unique_ptr<SendChannel>> open_send(const ChannelKey& key) override;
  Result<std::unique_ptr<RecvChannel>> open_recv(const ChannelKey& key) override;
  Result<std::unique_ptr<KernelGate>> open_gate(uint64_t comm) override {
    return door_->open(comm);
  }
  Result<void*> alloc(size_t bytes) override;
  void free(void* base) override;
  Status register_memory(void* base, size_t bytes, bool /*remap*/, uint64_t* handle) override {
    return registrations_.add(base, bytes, handle);
  }
  Status deregister_memory(uint64_t handle) override { return registrations_.remove(handle); }
  bool is_shared(const void* /*base*/, size_t /*bytes*/) const override { return true; }
  void progress() override {}
  int wait_fd() const override { return bell_.fd(); }
  void begin_wait() override { bell_.begin_wait(); }
  void end_wait() override { bell_.end_wait(); }
  void abort(uint64_t comm) override;

 private:
  struct Peer {
    uint64_t id;
    std::shared_ptr<RingLink> link;
  };
  Result<std::shared_ptr<RingLink>> link_with(int peer);

  std::shared_ptr<InprocDomain> domain_;
  const int number_;
  const std::shared_ptr<Door> door_memory_ = make_inproc_door();
  const std::shared_ptr<OwnDoor> door_;
  Bell bell_{OwnDoor::Reach::kProcess};
  const uint64_t id_;
  const Capabilities capabilities_;
  const RingLimits limits_;
  Registrations registrations_{"inproc", number_};
  Mutex mutex_;
  std::unordered_map<int, Peer> peers_ TUTTI_GUARDED_BY(mutex_);
  std::unordered_set<void*> blocks_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
