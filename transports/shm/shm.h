// ShmTransport: ranks that are processes of one host.
//
// One endpoint per rank. Every two endpoints have a link (link.h): rings in a segment that both map
// carry small messages; large ones are read, or written, where they lie. Memory from alloc() is
// mapped by peers on first use. Messages of other memory are copied into such memory, long ones by
// the kernel (process_vm_readv) where it allows that.
//
// Two processes prove that they are on one host by having a segment in common, and that they belong
// to one job by the job's secret (connector.h). Nothing has a name that could outlive a process.
//
// Threads: as transport.h; open_*, connect, alloc and register may be called by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "comm/base/log.h"
#include "comm/base/mutex.h"
#include "comm/net/patience.h"
#include "comm/net/secret.h"
#include "transports/registrations.h"
#include "transports/ring/bell.h"
#include "transports/ring/door.h"
#include "transports/shm/connector.h"
#include "transports/shm/link.h"
#include "transports/shm/wire.h"
#include "transports/transport.h"

namespace tutti {

struct ShmOptions {
  int nranks = 2;        // endpoints that will connect
  bool crowded = false;  // more ranks than cores
  int64_t connect_ns = 30'000'000'000;
  Patience patience = {};  // for connect() and settle()
  Log log = {};
  std::shared_ptr<BlockPool> blocks = {};  // of the process, over its regions; null: one's own
  size_t buffer_cap = size_t{64} << 20;    // what they may take
  bool read_peers = true;                  // through the kernel, where it allows that
  // A kernel that takes longer, on memory of a peer that wants it back, belongs to a process that
  // does not run: it touches 64 KiB to a few megabytes.
  int64_t kernel_ns = 200'000'000;
};

class ShmTransport final : public Transport {
 public:
  // `number`: of this endpoint among those that will connect. `secret`: of their job.
  // `regions`: of the process, which peers can map.
  static Result<std::unique_ptr<Transport>> open(int number, const Secret& secret,
                                                 const std::shared_ptr<OwnRegions>& regions,
                                                 const ShmOptions& options = {});
  ~ShmTransport() override;
  ShmTransport(const ShmTransport&) = delete;
  ShmTransport& operator=(const ShmTransport&) = delete;

  const char* name() const override { return "shm"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  std::string address() const override { return address_.encode(); }
  // kInvalidArgument for bytes that are no address, kInvalidUsage when `peer` is connected to
  // another endpoint; else as ShmConnector::connect().
  Status connect(int peer, std::string_view address) override;
  Status settle() override;
  Result<std::unique_ptr<SendChannel>> open_send(const ChannelKey& key) override;
  Result<std::unique_ptr<RecvChannel>> open_recv(const ChannelKey& key) override;
  Result<std::unique_ptr<KernelGate>> open_gate(uint64_t comm) override {
    return door_->open(comm);
  }
  Result<void*> alloc(size_t bytes) override;
  void free(void* base) override;
  // Without `remap` there is nothing to prepare: messages of memory that peers cannot map are
  // copied, registered or not. Texts and codes of both as those of OwnRegions.
  Status register_memory(void* base, size_t bytes, bool remap, uint64_t* handle) override;
  // kOutOfMemory: it is still registered.
  Status deregister_memory(uint64_t handle) override;
  bool is_shared(const void* base, size_t bytes) const override;
  void progress() override {}
  int wait_fd() const override { return bell_.fd(); }
  void begin_wait() override { bell_.begin_wait(); }
  void end_wait() override { bell_.end_wait(); }
  void abort(uint64_t comm) override;
  std::string still_lent(uint64_t comm) const override;

 private:
  struct Peer {
    ShmNonce nonce;
    std::shared_ptr<ShmLink> link;
  };

  ShmTransport(int number, const Secret& secret, const std::shared_ptr<OwnRegions>& regions,
               const ShmOptions& options);
  Status make_door();
  void probe(ShmLink& link, int peer, const ShmAddress& address);
  Result<std::shared_ptr<RingLink>> link_with(int peer);

  const int number_;
  const ShmOptions options_;
  const Capabilities capabilities_;
  ShmAddress address_;
  const std::shared_ptr<ShmOwn> own_;
  std::shared_ptr<OwnDoor> door_;
  Bell bell_{OwnDoor::Reach::kHost};
  Registrations registrations_{"shm", number_};
  Mutex connecting_;  // held while peers are waited for; before mutex_
  ShmConnector connector_ TUTTI_GUARDED_BY(connecting_);
  mutable Mutex mutex_;
  std::unordered_map<int, Peer> peers_ TUTTI_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, void*> remapped_ TUTTI_GUARDED_BY(mutex_);  // by registration
  std::map<uint64_t, std::string> still_lent_ TUTTI_GUARDED_BY(mutex_);    // by communicator
};

}  // namespace tutti
