// Plan: a schedule bound to one set of counts and to the channels of one communicator.
//
// Everything that needs allocation happens here, at bind time. A plan knows offsets, not pointers:
// it is cached by shape (comm/runtime/plans.h) and run again with other buffers. One run at a time
// (execution.h); the plan also holds that run's working memory. Thread: whoever advances the
// communicator.
#pragma once

#include <cstdint>
#include <memory>
#include <sys/uio.h>
#include <vector>

#include "comm/base/status.h"
#include "comm/exec/layout.h"
#include "comm/schedule/schedule.h"
#include "transports/transport.h"

namespace tutti {

// Gives a plan the channels of its communicator and plane. Borrowed pointers, valid as long as the
// communicator.
class ChannelSource {
 public:
  virtual ~ChannelSource() = default;
  virtual Result<SendChannel*> send_channel(int peer, uint32_t lane) = 0;
  virtual Result<RecvChannel*> recv_channel(int peer, uint32_t lane) = 0;
};

inline constexpr uint32_t kNoChannel = UINT32_MAX;

// One end of a step: runs of bytes in one buffer, and the channel when it is a message.
struct BoundOperand {
  Buffer buffer;
  uint8_t flags;
  uint32_t channel = kNoChannel;  // index into sends (outputs) or recvs (inputs)
  uint32_t message = 0;           // its number among this round's messages of that channel
  uint32_t first_part = 0;        // into parts and iovecs
  uint32_t num_parts = 0;
  void* placed = nullptr;  // of the run: where a peer wants this message, or null
};

// Before the step writes: message `message` of `channel` must have been given back.
struct Lent {
  uint32_t channel;
  uint32_t message;
  bool previous_round;
};

struct BoundStep {
  Op op;
  uint8_t flags;
  uint16_t n_in;
  uint16_t n_out;
  uint16_t wait_lane;
  uint32_t wait_step;
  uint32_t first;       // operand
  uint32_t first_lent;  // into lent
  uint32_t num_lent;
  uint32_t ordinal;  // offers: message number within a round
  size_t bytes;      // of every operand
  bool local;        // no messages at its ends, and each end one part of memory
};

struct SendEnd {
  SendChannel* channel;
  int peer;
  uint32_t per_round;  // messages of one round
  uint64_t base = 0;   // posted() when the run started
};
struct RecvEnd {
  RecvChannel* channel;
  int peer;
  uint32_t per_round;
  uint64_t base = 0;  // received() when the run started
};

struct BoundLane {
  uint32_t first_step;
  uint32_t num_steps;
  // Where the run stands.
  uint32_t round = 0;
  uint32_t step = 0;       // relative to first_step
  uint16_t next_post = 0;  // output operands of the current step already posted
  bool receives_posted = false;
  bool computed = false;
};

class Plan {
 public:
  // Binds `schedule` (kept by value) to `layout`. Fails only when a channel cannot be opened.
  static Result<std::unique_ptr<Plan>> bind(const Schedule& schedule, const DataLayout& layout,
                                            const Capabilities& capabilities,
                                            ChannelSource& channels);

  // Recomputes offsets and lengths of a lane's operands for `round`. Allocates nothing.
  void bind_round(uint32_t lane, uint32_t round);

  size_t scratch_bytes() const { return schedule.shape.scratch_slots * layout.slot_bytes(); }

  // Bytes of input and output together.
  size_t working_set() const { return layout.total_bytes(); }

  Schedule schedule;
  DataLayout layout;
  Capabilities capabilities;
  std::vector<BoundLane> lanes;
  std::vector<BoundStep> steps;
  std::vector<BoundOperand> operands;
  std::vector<Extent> parts;
  std::vector<iovec> iovecs;  // lent with messages: one per part
  std::vector<Lent> lent;
  std::vector<SendEnd> sends;
  std::vector<RecvEnd> recvs;
  uint32_t most_operands = 0;  // of one step

 private:
  Plan(const Schedule& s, const DataLayout& l, const Capabilities& c)
      : schedule(s), layout(l), capabilities(c) {}
  Status bind_channels(ChannelSource& source);
  void find_lent();
  void bind_operand(const Step& step, const Operand& operand, BoundOperand* bound, uint32_t round);
};

}  // namespace tutti
