// The two ends of one direction of a pair of rings (ring.h).
//
// Invariants: nothing here allocates, locks, blocks or makes a system call, except health() of a
// failed channel, which builds a text. Positions are numbers on the ring; the counters of the seam
// start at zero where the channel was opened.
// Threads: as transport.h says: one at a time per channel.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "transports/inproc/domain.h"
#include "transports/inproc/ring.h"
#include "transports/transport.h"

namespace tutti {

class InprocSendChannel final : public SendChannel {
 public:
  // `slots` <= kRingSlots: how many messages may be outstanding. `peer`: for texts.
  InprocSendChannel(std::shared_ptr<InprocDomain> domain, const RingEnd& end, int peer,
                    uint32_t slots);
  ~InprocSendChannel() override;

  bool post_send(const OpHeader* header, const iovec* parts, int nparts) override;
  void* place(size_t bytes, uint64_t fingerprint) override;
  bool post_placed(const OpHeader* header, size_t bytes) override;
  uint64_t posted() const override { return next_ - base_; }
  uint64_t consumed() override;
  uint64_t sent() override;
  Status health() const override;

 private:
  bool ended() const { return state_->load(std::memory_order_acquire) & kEnded; }
  bool has_room();
  bool post_large(const OpHeader* header, const iovec* parts, int nparts);
  bool fill(RingSlot* slot, const iovec* parts, int nparts, uint64_t* tag);
  void publish(RingSlot* slot, const OpHeader* header, uint64_t tag);
  uint64_t oldest_lent(uint64_t consumed) const;
  uint64_t released() const;

  // Read on every call, so kept together; the rings themselves are elsewhere.
  Ring* ring_;       // ours
  Ring* peer_ring_;  // holds the offers for our messages
  const std::atomic<uint32_t>* state_;
  uint64_t next_;                 // the next message
  uint64_t base_;                 // the first message of this channel
  uint64_t consumed_;             // last value read from the ring
  uint64_t lent_ = 0;             // bit n % 64: message n, not known consumed, names our memory
  uint64_t sent_;                 // last answer of sent(), which abort freezes
  uint64_t placed_ = UINT64_MAX;  // the message place() has given an address for
  uint32_t slots_;
  int peer_;
  RingEnd end_;
  std::shared_ptr<InprocDomain> domain_;
};

class InprocRecvChannel final : public RecvChannel {
 public:
  InprocRecvChannel(std::shared_ptr<InprocDomain> domain, const RingEnd& end, int peer);
  ~InprocRecvChannel() override;

  // With receives posted the arriving messages belong to them and view() shows no new one.
  const Message* view() override;
  void release() override;
  void post_recv(const iovec* parts, int nparts) override;
  uint64_t received() override;
  const Message& last() const override { return last_; }
  void offer(uint64_t ordinal, void* base, size_t bytes, uint64_t fingerprint) override;
  Status health() const override;

 private:
  struct Posted {
    const iovec* parts;
    int nparts;
  };

  const MessageLine* arrived() const;
  void describe(const MessageLine& line);
  void land(const Posted& target);
  void give_back();

  Ring* ring_;      // the peer's: its messages
  Ring* own_ring_;  // holds our offers for them
  const std::atomic<uint32_t>* state_;
  uint64_t next_;  // the oldest message not given back
  uint64_t base_;
  uint32_t cut_;  // state bits under which the sender's memory may not be touched
  int peer_;
  bool showing_ = false;  // message_ describes message next_
  uint32_t pending_ = 0;  // receives posted for the messages from next_, or from the one shown, on
  Message message_ = {};
  iovec part_ = {};
  Message last_ = {};
  OpHeader last_header_ = {};
  RingEnd end_;
  std::shared_ptr<InprocDomain> domain_;
  std::array<Posted, kRingSlots> targets_;
};

}  // namespace tutti
