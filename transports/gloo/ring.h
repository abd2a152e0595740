// Ring: the two rings of records of one link (record.h), on two Gloo pairs.
//
// The peer writes into our memory, and a record has arrived when its stamp has. The stamp alone
// proves nothing, since the kernel may still be copying other bytes of the record; it only tells
// that Gloo's completion for the record is there or about to come, so that waiting for it is short.
// That wait is what orders our reads after the device thread's writes.
//
// Threads: none of its own; the caller's lock (Link) guards it. Gloo's device thread writes inbox_.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "transports/gloo/library.h"
#include "transports/gloo/record.h"

namespace tutti {

struct FreeMemory {
  void operator()(std::byte* p) const { std::free(p); }
};
using ZeroedMemory = std::unique_ptr<std::byte, FreeMemory>;

class Ring {
 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Makes the buffers. Before the pairs connect: the peer may write as soon as one has.
  Status open(GlooPair* out, GlooPair* in);
  // After the pairs have been closed, which stops Gloo from touching the memory.
  void shut();

  // Whether a record with that payload can be pushed and leave `slots` slots free.
  bool fits(size_t payload_bytes, uint64_t slots) const;
  // Writes a record that fits, with the payload the parts name, payload_bytes in all; without parts
  // the payload is whatever lies there.
  Status push(Record record, const iovec* parts, int nparts);
  // The oldest record not popped, or null.
  const Record* front();
  const std::byte* payload(const Record& front) const;
  void pop();
  // Whether the peer should hear how much of the ring or the arena has been taken.
  bool owes_credit() const {
    return taken_ - told_ >= kRingSlots / 2 || arena_untold_ >= kArenaBytes / 2;
  }
  static bool is_sane(const Record& record);
  bool note_taken(uint64_t taken);  // false: it says what cannot be
  Status probe();                   // as gloo_probe, of the pair for sending
  uint64_t pushed() const { return pushed_; }
  uint64_t peer_taken() const { return peer_taken_; }

 private:
  uint64_t arena_start(size_t payload_bytes) const;
  std::byte* end_of_slot(std::byte* memory, uint64_t number) const {
    return memory + (number % kRingSlots + 1) * kSlotBytes;
  }

  ZeroedMemory inbox_;
  ZeroedMemory outbox_;
  ZeroedMemory arena_in_;
  ZeroedMemory arena_out_;
  std::unique_ptr<GlooBuffer> inbox_buffer_;
  std::unique_ptr<GlooBuffer> outbox_buffer_;
  std::unique_ptr<GlooBuffer> arena_in_buffer_;
  std::unique_ptr<GlooBuffer> arena_out_buffer_;
  std::unique_ptr<GlooBuffer> probe_in_;
  std::unique_ptr<GlooBuffer> probe_out_;
  uint64_t probe_word_ = 0;
  uint64_t pushed_ = 0;
  uint64_t peer_taken_ = 0;
  uint64_t taken_ = 0;
  uint64_t told_ = 0;
  bool front_whole_ = false;
  // Positions in an endless arena, of which the real one is a window.
  uint64_t arena_head_ = 0;
  uint64_t arena_tail_ = 0;
  uint64_t arena_untold_ = 0;  // bytes taken from the peer's arena that it does not know of
  uint64_t arena_ends_[kRingSlots] = {};  // per record sent: where its payload ended, 0: not there
};

}  // namespace tutti
