// MpiTransport: Open MPI's point-to-point messages as a transport, for fabrics that an MPI already
// drives and for jobs that mpirun starts.
//
// Making the first endpoint of a process initialises MPI, unless the application has, and is
// collective over MPI_COMM_WORLD. Several endpoints may live in one process and reach each other.
// Destroying an endpoint never waits; finalize() of the last one ends MPI if we began it. Security
// between the processes is what MPI gives.
//
// After abort() MPI may go on touching memory of messages that were under way; health() of the
// channels and still_lent() name it.
//
// Threads: as transport.h while MPI runs at MPI_THREAD_MULTIPLE; below that (Capabilities::
// any_thread) all calls come from the thread that MPI allows, but for abort(), which may come from
// any and then tells peers at the next progress().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>

#include "comm/base/mutex.h"
#include "transports/mpi/endpoint.h"
#include "transports/registrations.h"
#include "transports/transport.h"

namespace tutti {

class MpiTransport final : public Transport {
 public:
  // `number`: of this endpoint, for texts.
  MpiTransport(std::shared_ptr<MpiWorld> world, int number);
  ~MpiTransport() override;
  MpiTransport(const MpiTransport&) = delete;
  MpiTransport& operator=(const MpiTransport&) = delete;

  const char* name() const override { return "mpi"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  std::string address() const override;
  // kInvalidArgument for bytes that are no address of this job, kRemoteError for an endpoint that
  // is gone, kInvalidUsage when `peer` is connected to another endpoint.
  Status connect(int peer, std::string_view address) override;
  Result<std::unique_ptr<SendChannel>> open_send(const ChannelKey& key) override;
  Result<std::unique_ptr<RecvChannel>> open_recv(const ChannelKey& key) override;
  Result<void*> alloc(size_t bytes) override;
  void free(void* base) override;
  // MPI registers with its fabric what it sends from, by itself.
  Status register_memory(void* base, size_t bytes, bool /*remap*/, uint64_t* handle) override {
    return registrations_.add(base, bytes, handle);
  }
  Status deregister_memory(uint64_t handle) override { return registrations_.remove(handle); }
  void progress() override { world_->progress(); }
  int wait_fd() const override { return -1; }
  void abort(uint64_t comm) override { endpoint_->abort(comm); }
  std::string still_lent(uint64_t comm) const override;
  Status finalize() override;

 private:
  Status check_open() const;

  const std::shared_ptr<MpiWorld> world_;
  const int number_;
  const std::shared_ptr<MpiEndpoint> endpoint_;
  Capabilities capabilities_;
  Registrations registrations_{"mpi", number_};
  mutable Mutex mutex_;
  bool finalized_ TUTTI_GUARDED_BY(mutex_) = false;
  std::unordered_set<void*> blocks_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
