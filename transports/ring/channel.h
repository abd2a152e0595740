// The two ends of one direction of a pair of rings (ring.h).
//
// Invariants: nothing here allocates, locks, blocks or makes a system call, except health(), waking
// a peer that sleeps, what LinkMemory does for memory that the other side cannot address, and the
// first receive that is posted, so that a channel where none ever is stays small.
// Positions are numbers on the ring; the counters of the seam start at zero where the channel was
// opened.
// Threads: as transport.h says: one at a time per channel.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "transports/ring/link.h"
#include "transports/ring/ring.h"
#include "transports/ring/staging.h"
#include "transports/transport.h"

namespace tutti {

struct RingLimits {
  uint32_t slots = kRingSlots;           // messages that may be outstanding, <= kRingSlots
  uint32_t copied_bytes = kInlineBytes;  // kInlineBytes, or kSpilledBytes where ranks share cores
};

class RingSendChannel final : public SendChannel {
 public:
  static Result<std::unique_ptr<SendChannel>> open(std::shared_ptr<RingLink> link,
                                                   const ChannelKey& key, const RingLimits& limits);
  RingSendChannel(std::shared_ptr<RingLink> link, const RingEnd& end, const RingLimits& limits);
  ~RingSendChannel() override;

  bool post_send(const OpHeader* header, const iovec* parts, int nparts) override;
  void* place(size_t bytes, uint64_t fingerprint) override;
  bool post_placed(const OpHeader* header, size_t bytes) override;
  uint64_t posted() const override { return next_ - base_; }
  uint64_t consumed() override;
  uint64_t sent() override;
  Status health() const override { return failure_.ok() ? link_->health(end_) : failure_; }
  void lend_all(bool on) override;
  uint64_t copied_bytes() const override { return copied_bytes_; }

 private:
  bool ended() const { return state_->load(std::memory_order_acquire) & kEnded; }
  bool has_room();
  void refresh_consumed();
  bool post_large(const OpHeader* header, const iovec* parts, int nparts);
  // What message next_ carries, in its slot or named by it.
  enum class Filled : uint8_t { kCopied, kLent, kNoMemory };
  Filled fill(RingSlot* slot, const iovec* parts, int nparts, uint64_t* tag);
  bool spill(RingSlot* slot, const iovec* parts, int nparts, size_t bytes, uint64_t* tag);
  uint64_t room_in_spill(size_t bytes);
  Filled lend(RingSlot* slot, const iovec* parts, int nparts, size_t bytes, uint64_t* tag);
  Filled lend_one(RingSlot* slot, const LentRange& where, uint64_t* tag);
  Filled lend_across(RingSlot* slot, const iovec* parts, int nparts, size_t bytes, uint64_t* tag);
  Filled lend_list(RingSlot* slot, const iovec* parts, int nparts, size_t bytes, uint64_t* tag);
  Filled lend_copy(RingSlot* slot, void* room, const iovec* parts, int nparts, size_t bytes,
                   uint64_t* tag);
  bool all_mapped(const iovec* parts, int nparts) const;
  void* room_for_copy(size_t bytes, bool must);
  void* take_block(size_t bytes, bool must);
  void drop_block(void** block);
  void give_back_blocks(uint64_t consumed);
  void publish(RingSlot* slot, const OpHeader* header, uint64_t tag);
  uint64_t oldest_lent(uint64_t consumed) const;
  uint64_t released() const;

  // Read on every call, so kept together; the rings themselves are elsewhere.
  Ring ring_;       // ours
  Ring peer_ring_;  // holds the offers for our messages
  const std::atomic<uint32_t>* state_;
  const std::atomic<uint32_t>* sleepers_;  // of the peer
  uint64_t next_;                          // the next message
  uint64_t base_;                          // the first message of this channel
  uint64_t consumed_;                      // last value read from the ring
  uint64_t lent_ = 0;             // bit n % 64: message n, not known consumed, names our memory
  uint64_t sent_;                 // last answer of sent(), which abort freezes
  uint64_t placed_ = UINT64_MAX;  // the message place() has given an address for
  RingLimits limits_;
  // What is at most copied into a message's line, or into the spill though the peer could read it
  // where it lies: nothing while all is lent.
  uint32_t line_bytes_ = kLineBytes;
  uint32_t spilled_bytes_;
  uint64_t copied_bytes_ = 0;
  LinkMemory* memory_;  // null: one address space
  RingEnd end_;
  std::shared_ptr<RingLink> link_;
  std::unique_ptr<CircularRoom> spill_room_;  // none until it is needed
  Staging staging_;
  // Blocks that messages from blocks_kept_ on use, by slot; none until the first is needed.
  std::vector<void*> blocks_;
  uint64_t blocks_kept_ = 0;
  uint32_t blocks_out_ = 0;
  BlockWait wait_;
  Status failure_;  // no memory for the copy that a message needs
};

class RingRecvChannel final : public RecvChannel {
 public:
  static Result<std::unique_ptr<RecvChannel>> open(std::shared_ptr<RingLink> link,
                                                   const ChannelKey& key);
  RingRecvChannel(std::shared_ptr<RingLink> link, const RingEnd& end);
  ~RingRecvChannel() override;

  // With receives posted the arriving messages belong to them and view() shows no new one.
  const Message* view() override;
  bool release() override;
  void post_recv(const iovec* parts, int nparts) override;
  uint64_t received() override;
  const Message& last() const override { return last_; }
  Status fetch(size_t offset, void* to, size_t bytes) override;
  void offer(uint64_t ordinal, void* base, size_t bytes, uint64_t fingerprint) override;
  Status health() const override;

 private:
  struct Posted {
    const iovec* parts;
    int nparts;
  };

  const MessageLine* arrived() const;
  void describe(const MessageLine& line);
  void describe_list(const PartList& list);
  void describe_placed(const OfferLine& offer, uint64_t consumed);
  void show_nothing();
  void show(const LentRange* lent, size_t nparts);
  Status land(const Posted& target);
  void give_back();

  Ring ring_;      // the peer's: its messages
  Ring own_ring_;  // holds our offers for them
  const std::atomic<uint32_t>* state_;
  const std::atomic<uint32_t>* sleepers_;  // of the peer
  uint64_t next_;                          // the oldest message not given back
  uint64_t base_;
  uint32_t cut_;          // state bits under which the sender's memory may not be touched
  bool showing_ = false;  // message_ describes message next_
  uint32_t pending_ = 0;  // receives posted for the messages from next_, or from the one shown, on
  Message message_ = {};
  iovec part_ = {};
  LinkMemory* memory_;  // null: one address space
  // Of the message shown, where this process cannot address it.
  const LentRange* lent_ = nullptr;
  size_t num_lent_ = 0;
  std::vector<iovec> list_;  // of a message in many parts
  Status failure_;           // of reading it
  Message last_ = {};
  OpHeader last_header_ = {};
  RingEnd end_;
  std::shared_ptr<RingLink> link_;
  std::vector<Posted> targets_;  // by slot; none until the first receive is posted
};

}  // namespace tutti
