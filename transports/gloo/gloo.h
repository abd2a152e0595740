// GlooTransport: ranks that Gloo can connect, over its TCP device.
//
// One endpoint per rank; it has kPairs Gloo pairs with every other (link.h) and one Gloo device,
// whose thread moves the bytes. There is no descriptor to wait on: what arrives is seen in memory,
// and the wait ladder ends in naps. A thread of ours looks after the links while nobody in the
// process polls them, so that a peer never waits long for an answer that needs no application;
// another one lives while connections are being made.
//
// Connections have Gloo's own security: whoever reaches a listening pair first is its peer.
// abort() of a communicator with large messages under way ends the connections those were on, for
// all communicators: Gloo gives memory back in no other way. Peers learn of an abort when its
// message arrives, and of a lost peer when they ask health().
//
// Threads: as transport.h; every method may be called by any thread. The destructor waits until
// every peer's process has what was sent, some ms while they are alive, kGoodbyeNs at most.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "comm/base/mutex.h"
#include "transports/builtin.h"
#include "transports/gloo/library.h"
#include "transports/gloo/link.h"
#include "transports/registrations.h"
#include "transports/transport.h"

namespace tutti {

class GlooTransport final : public Transport {
 public:
  // kInvalidArgument for a context that makes no sense, kSystemError where Gloo cannot listen.
  static Result<std::unique_ptr<Transport>> create(const TransportContext& context);
  ~GlooTransport() override;
  GlooTransport(const GlooTransport&) = delete;
  GlooTransport& operator=(const GlooTransport&) = delete;

  const char* name() const override { return "gloo"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  std::string address() const override { return address_; }
  // Starts connecting and returns; channels may be opened at once. That a peer cannot be reached is
  // told by the health of its channels.
  Status connect(int peer, std::string_view address) override;
  Result<std::unique_ptr<SendChannel>> open_send(const ChannelKey& key) override;
  Result<std::unique_ptr<RecvChannel>> open_recv(const ChannelKey& key) override;
  Result<void*> alloc(size_t bytes) override;
  void free(void* base) override;
  Status register_memory(void* base, size_t bytes, bool /*remap*/, uint64_t* handle) override {
    return registrations_.add(base, bytes, handle);
  }
  Status deregister_memory(uint64_t handle) override { return registrations_.remove(handle); }
  void progress() override;
  int wait_fd() const override { return -1; }
  void abort(uint64_t comm) override;

 private:
  explicit GlooTransport(const TransportContext& context);
  Status open_pairs(const std::string& host);
  Result<Link*> link_to(int peer) const;
  Status start_connecting(Link* link);
  void run_connects();
  void tend_links();
  void stop_threads();
  void close_pairs();
  void say_bye();

  const int number_;
  const int nranks_;
  Capabilities capabilities_;
  Registrations registrations_{"gloo", number_};
  std::string address_;
  std::shared_ptr<gloo::transport::Device> device_;
  std::array<std::shared_ptr<gloo::transport::Context>, kPairs> contexts_;
  std::vector<std::shared_ptr<Link>> links_;  // by peer; null for this endpoint

  Mutex mutex_;
  CondVar stop_;
  std::thread tending_ TUTTI_GUARDED_BY(mutex_);
  std::thread connecting_ TUTTI_GUARDED_BY(mutex_);
  bool connecting_runs_ TUTTI_GUARDED_BY(mutex_) = false;
  bool stopping_ TUTTI_GUARDED_BY(mutex_) = false;
  std::vector<Link*> to_connect_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
