// Plan: a schedule bound to one set of counts and to the channels of one communicator.
//
// Everything that needs allocation happens here, at bind time. A plan knows offsets, not pointers:
// it is cached by shape (comm/runtime/plans.h) and run again with other buffers. One run at a time
// (execution.h); the plan also holds that run's working memory. Thread: whoever advances the
// communicator.
//
// A plan of rows (comm/schedule/rows.h) is bound for each call, into the memory of the last one.
#pragma once

#include <cstdint>
#include <memory>
#include <sys/uio.h>
#include <vector>

#include "comm/base/status.h"
#include "comm/device/row_sum.h"
#include "comm/exec/layout.h"
#include "comm/exec/row_layout.h"
#include "comm/exec/row_loans.h"
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
  uint32_t ordinal;  // offers: message number within a round; rows: number in row_steps
  size_t bytes;      // of every operand; of rows each has its own
  bool local;        // no messages at its ends, and each end one part of memory
};

struct SendEnd {
  SendChannel* channel;
  int peer;
  uint32_t per_round;   // messages of one round
  uint64_t base = 0;    // posted() when the run started
  uint64_t copied = 0;  // of rows: copied_bytes() then
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

// What a kRows step has beyond a BoundStep.
struct BoundRows {
  RowProgram program;
  uint32_t num_rows;  // of each output
};

// Working memory of the kRows step that is being computed, sized for the largest one.
struct RowTables {
  // Of one call of a kernel: few enough for the nearest cache.
  static constexpr size_t kBatchTerms = 512;
  static constexpr size_t kBatchRows = 128;
  static constexpr uint32_t kMostOutputs = 8;  // of a step
  // Where an input with a peer is: the message where the transport shows it, and its channel.
  struct Shown {
    const Message* message = nullptr;  // null: its rows lie in their set
    RecvChannel* channel = nullptr;
  };
  std::vector<Shown> shown;     // by input
  std::vector<uint32_t> first;  // by input: its first row in `at`
  std::vector<const char*> at;  // where each row of each input lies; null: to be fetched
  // One call of a kernel: the terms of its rows, one after the other, and the rows.
  std::vector<const void*> sources;
  std::vector<const void*> targets;
  std::vector<float> weights;
  std::vector<RowSum> sums;
  std::vector<int64_t> offsets;  // of sources, then of targets

  void make_room(size_t num_inputs, size_t num_rows, size_t most_terms);
};

class Plan {
 public:
  // Binds `schedule` (kept by value) to `layout`. Fails only when a channel cannot be opened.
  static Result<std::unique_ptr<Plan>> bind(const Schedule& schedule, const DataLayout& layout,
                                            const Capabilities& capabilities,
                                            ChannelSource& channels);

  // For schedules of rows: bind_rows() before each run.
  explicit Plan(const Capabilities& c) : layout({}, {}, 1, 1, 0, 0), capabilities(c) {}

  // Binds `schedule`, which is borrowed until the run is over. Nothing of the run before may be
  // outstanding. Outputs of a step all get its rows (but for kQuantise: values and scales). Fails
  // when a channel cannot be opened or a message is more than the transport takes.
  Status bind_rows(const Schedule& schedule, const RowLayout& layout, ChannelSource& channels);

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
  // Of a schedule of rows, else null and empty.
  const Rows* rows = nullptr;
  RowLayout row_layout;
  std::vector<BoundRows> row_steps;
  std::vector<RowSet> row_sets;  // of each operand
  bool copies_shown = false;  // messages are copied to the rows of their sets before they are read
  RowTables row_tables;

 private:
  Plan(const Schedule& s, const DataLayout& l, const Capabilities& c)
      : schedule(s), layout(l), capabilities(c) {}
  Status bind_channels(ChannelSource& source);
  void find_lent();
  void bind_operand(const Step& step, const Operand& operand, BoundOperand* bound, uint32_t round);

  Status bind_row_step(const Schedule& from, uint32_t lane, const Step& step,
                       ChannelSource& channels);
  Status bind_message(const Operand& operand, bool incoming, uint32_t lane, uint32_t step,
                      ChannelSource& channels, BoundOperand* bound);
  Status bind_row_parts(int rank, const Operand& operand, const RowSet& set, BoundOperand* bound);
  void bind_program(const Schedule& from, const Step& step, BoundStep* bound);
  bool formats_fit(const Step& step, const Schedule& from, const RowProgram& program) const;
  uint32_t most_terms(const RowProgram& program, uint32_t num_rows) const;
  void find_row_loans(const Schedule& from, const Step& step, BoundStep* bound);
  RowLoans row_loans_;
  std::vector<uint32_t> send_of_peer_;  // of the lane that is being bound
  std::vector<uint32_t> recv_of_peer_;
  std::vector<uint32_t> last_step_of_recv_;
};

}  // namespace tutti
