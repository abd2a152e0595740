// The channels of FaultTransport. They wrap the inner transport's and decide call by call what to
// pass on. Threads: one at a time per channel, like what they wrap. They must not outlive their
// FaultTransport.
#pragma once

#include <cstdint>
#include <memory>

#include "transports/decorators/fault.h"
#include "transports/transport.h"

namespace tutti {

// splitmix64: the whole state is a counter, so any seed is a good one.
class FaultDice {
 public:
  FaultDice(uint64_t seed, const ChannelKey& key, bool sending);
  bool happens(double probability);
  uint32_t up_to(uint32_t most);  // 1..most

 private:
  uint64_t next();
  uint64_t state_;
};

class FaultSendChannel final : public SendChannel {
 public:
  FaultSendChannel(FaultTransport* transport, std::unique_ptr<SendChannel> inner,
                   const ChannelKey& key);

  bool post_send(const OpHeader* header, const iovec* parts, int nparts) override;
  void* place(size_t bytes, uint64_t fingerprint) override;
  bool post_placed(const OpHeader* header, size_t bytes) override;
  uint64_t posted() const override { return inner_->posted() + swallowed_; }
  uint64_t sent() override;
  uint64_t consumed() override { return inner_->consumed(); }
  Status health() const override;
  void lend_all(bool on) override { inner_->lend_all(on); }
  uint64_t copied_bytes() const override { return inner_->copied_bytes(); }

 private:
  // Whether the next message may be posted at all; counts the call.
  bool may_post();
  // Whether it is posted here but withheld from the inner channel.
  bool swallows();

  FaultTransport* transport_;
  std::unique_ptr<SendChannel> inner_;
  FaultDice dice_;
  uint64_t drop_from_ = UINT64_MAX;  // number of the dropped message
  uint64_t swallowed_ = 0;
  uint64_t sent_ = 0;  // last answer
};

class FaultRecvChannel final : public RecvChannel {
 public:
  FaultRecvChannel(FaultTransport* transport, std::unique_ptr<RecvChannel> inner,
                   const ChannelKey& key);

  const Message* view() override;
  bool release() override;
  bool has_message() override;
  Status fetch(size_t offset, void* to, size_t bytes) override {
    return inner_->fetch(offset, to, bytes);
  }
  void post_recv(const iovec* parts, int nparts) override;
  uint64_t received() override;
  const Message& last() const override { return inner_->last(); }
  void offer(uint64_t ordinal, void* base, size_t bytes, uint64_t fingerprint) override;
  Status health() const override;

 private:
  // Decides once per message whether it is late, then lets `delay_` polls pass.
  bool held_back(uint64_t message);

  FaultTransport* transport_;
  std::unique_ptr<RecvChannel> inner_;
  FaultDice dice_;
  uint64_t decided_ = 0;   // messages below this have had their delay drawn
  uint32_t delay_ = 0;     // polls for which the last of them stays hidden
  uint64_t reported_ = 0;  // last answer of received()
  bool showing_ = false;   // the caller holds a view
};

}  // namespace tutti
