// The two ends of a channel over MPI.
//
// Short messages are copied into packets and copied out again; the others are sent from and
// received into the caller's memory. A message that has arrived is looked at only by the channel
// itself, in post_recv() and received(), so that an abort comes between any two steps.
//
// Threads: as transport.h. Every call takes the world's mutex, but for questions that the last
// progress has answered: those read counters that are written under the mutex.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "comm/base/mutex.h"
#include "transports/mpi/endpoint.h"
#include "transports/transport.h"

namespace tutti {

inline constexpr uint32_t kMpiSlots = 16;
// Messages up to this travel in packets, several if need be.
inline constexpr size_t kPacketedBytes = 8 * kInlineBytes;

class MpiSendChannel final : public SendChannel {
 public:
  static Result<std::unique_ptr<SendChannel>> open(std::shared_ptr<MpiEndpoint> endpoint,
                                                   const ChannelKey& key);
  ~MpiSendChannel() override;

  bool post_send(const OpHeader* header, const iovec* parts, int nparts) override;
  void* place(size_t, uint64_t) override { return nullptr; }
  bool post_placed(const OpHeader* header, size_t bytes) override;
  uint64_t posted() const override { return next_; }
  uint64_t sent() override;
  uint64_t consumed() override;
  Status health() const override;

  // From the world and the endpoint, under the mutex.
  void completed(uint64_t number) {
    world_.assert_held();
    --left_[number % kMpiSlots];
    uint64_t done = done_.load(std::memory_order_relaxed);
    while (done < next_ && left_[done % kMpiSlots] == 0) ++done;
    // Pairs with the load in sent(): MPI is done with the memory.
    done_.store(done, std::memory_order_release);
  }
  void credit(uint64_t taken) {
    // Pairs with the load in consumed().
    if (taken > taken_.load(std::memory_order_relaxed)) {
      taken_.store(taken, std::memory_order_release);
    }
  }
  void peer_closed() {
    world_.assert_held();
    peer_closed_ = true;
  }
  // Pairs with the loads in sent() and consumed().
  void end() { ended_.store(true, std::memory_order_release); }
  const StreamKey& key() const { return key_; }

 private:
  MpiSendChannel(std::shared_ptr<MpiEndpoint> endpoint, int peer);
  void post_packets(Envelope* envelope, const iovec* parts) TUTTI_REQUIRES(world_.mutex);
  bool post_payload(Envelope* envelope, const iovec* parts, int nparts)
      TUTTI_REQUIRES(world_.mutex);

  const std::shared_ptr<MpiEndpoint> endpoint_;
  MpiWorld& world_;
  const int peer_;
  StreamKey key_ = {};
  uint32_t incarnation_ = 0;
  uint64_t next_ = 0;  // messages posted; written by the channel's thread only
  // Written under the mutex.
  std::atomic<uint64_t> done_{0};   // of those, no longer borrowed
  std::atomic<uint64_t> taken_{0};  // of those, known to be taken
  std::atomic<bool> ended_{false};
  uint64_t told_sent_ = 0;  // last answers, which an abort freezes
  uint64_t told_taken_ = 0;
  bool peer_closed_ TUTTI_GUARDED_BY(world_.mutex) = false;
  std::array<uint32_t, kMpiSlots> left_ TUTTI_GUARDED_BY(world_.mutex) = {};  // packets, by message
};

class MpiRecvChannel final : public RecvChannel {
 public:
  static Result<std::unique_ptr<RecvChannel>> open(std::shared_ptr<MpiEndpoint> endpoint,
                                                   const ChannelKey& key);
  ~MpiRecvChannel() override;

  const Message* view() override { return nullptr; }
  bool release() override;
  bool has_message() override;
  void post_recv(const iovec* parts, int nparts) override;
  uint64_t received() override;
  const Message& last() const override { return last_; }
  void offer(uint64_t, void*, size_t, uint64_t) override {}
  Status health() const override;

  // From the world and the endpoint, under the mutex: something has arrived. Pairs with the load in
  // received().
  void wake() { news_.store(true, std::memory_order_release); }
  void end() {
    world_.assert_held();
    ended_ = true;
  }

 private:
  struct Target {
    const iovec* parts;
    int nparts;
  };

  MpiRecvChannel(std::shared_ptr<MpiEndpoint> endpoint, int peer);
  bool start_payloads() TUTTI_REQUIRES(world_.mutex);
  bool start_payload(Packet* packet, const Target& target) TUTTI_REQUIRES(world_.mutex);
  bool has_landed() TUTTI_REQUIRES(world_.mutex);
  bool copy_packets(const Target& target) TUTTI_REQUIRES(world_.mutex);
  bool is_cut(const Packet* packet) const TUTTI_REQUIRES(world_.mutex);

  const std::shared_ptr<MpiEndpoint> endpoint_;
  MpiWorld& world_;
  const int peer_;
  StreamKey key_ = {};
  Stream* stream_ = nullptr;
  bool ended_ TUTTI_GUARDED_BY(world_.mutex) = false;
  Status failure_ TUTTI_GUARDED_BY(world_.mutex);
  std::atomic<bool> news_{true};  // received() may find something; cleared under the mutex
  uint64_t received_ = 0;
  uint32_t pending_ = 0;  // receives posted and not landed
  Message last_ = {};
  OpHeader last_header_ = {};
  std::array<Target, kMpiSlots> targets_ = {};
};

}  // namespace tutti
