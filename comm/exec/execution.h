// Execution: one run of a plan, as a resumable state machine.
//
// advance() does what can be done now, or after a few more looks at what peers are about to write,
// and returns; it never blocks, allocates, locks or logs. The lanes of the plan run in order; a
// step whose messages have not arrived, whose channel is full or whose place is still lent stays
// for the next call. Every message passes through one kernel call at most: inputs are read where
// they lie (view), results are written where peers want them (place). Rows (comm/schedule/rows.h)
// are computed in stretches, each inside the gate by itself. Thread: whoever advances the
// communicator, one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/base/types.h"
#include "comm/device/device.h"
#include "comm/exec/plan.h"

namespace tutti {

// How the reductions of a run compute; ignored where nothing is reduced.
struct Arithmetic {
  DataType dtype = DataType::kUint8;
  ReduceOp op = ReduceOp::kSum;
  uint32_t divisor = 0;  // applied by final reductions (avg)
  Stores stores = Stores::kCached;
  uint32_t threads = 1;  // that may share the work
};

struct RunBuffers {
  void* input = nullptr;
  void* output = nullptr;
  void* scratch = nullptr;
  // Of schedules of rows.
  void* input_side = nullptr;
  void* output_side = nullptr;
  void* scratch_side = nullptr;
  void* input_value = nullptr;
  void* output_value = nullptr;
  void* scratch_value = nullptr;
  const void* bias0 = nullptr;
  const void* bias1 = nullptr;
};

// Memory traffic of kernels, to show how many passes a schedule makes.
struct Traffic {
  uint64_t bytes_loaded = 0;
  uint64_t bytes_stored = 0;
  // Schedules of rows: bytes of messages that were not read where they were shown: landed by a
  // transport without view, fetched, copied because the plan says so, or cut so that a row had to
  // be put together. A copy that the sender made shows like the rows themselves and is not in it.
  uint64_t staged_bytes = 0;
};

class Execution {
 public:
  enum class State : uint8_t { kBlocked, kDone, kMismatch, kFailed };

  // What a message said that was not what this operation expects (kMismatch).
  struct Surprise {
    int peer = -1;
    bool has_header = false;
    OpHeader header{};
    size_t bytes = 0;
    size_t expected_bytes = 0;
  };

  // `looks`: for a message that is not there yet, before advance() returns. 0 where ranks share
  // cores: who is to send it may need this one.
  explicit Execution(uint32_t looks = 0) : looks_(looks) {}

  // `plan` and the buffers stay alive and untouched until advance() has said kDone, or the
  // communicator has been aborted. `device` runs the kernels, each inside `gate`.
  void start(Plan* plan, const RunBuffers& buffers, const OpHeader& header, const Arithmetic& how,
             const Device* device, KernelGate* gate);

  // After start() of a plan of rows: this rank takes no part in the computing, but in the exchange,
  // so that nobody waits for it and the channels are in step afterwards: all messages are taken and
  // dropped, and empty ones sent. Peers learn of it from their first message, and those that they
  // have messages for, in turn. The buffers are not touched.
  void refuse();
  // Why the results of a run of rows that is done are not what was asked for.
  struct Refusal {
    enum class Kind : uint8_t {
      kNone,
      kThere,    // `peer` has refused, or has heard of one that has
      kDiffers,  // `peer` calls the same with other types or sizes
    } kind = Kind::kNone;
    int peer = -1;
  };
  const Refusal& refusal() const { return refusal_; }

  State advance();

  // A peer that the run waits for now, or -1; for the text of a timeout.
  int waiting_for() const;
  // Why a message that the run waits for now will never come or never be taken, naming the peer;
  // ok otherwise. A peer that has left is no failure while nothing of it is missing. `peer` becomes
  // its number when not ok.
  Status health(int* peer) const;
  const Surprise& surprise() const { return surprise_; }
  const Status& failure() const { return failure_; }  // of kFailed
  // Steps done since the object was made: tells a waiter whether anything moved.
  uint64_t steps_run() const { return steps_run_; }
  const Traffic& traffic() const { return traffic_; }
  // Of a run of rows: Traffic::staged_bytes, and what this side has copied for its peers to read.
  uint64_t staged_bytes() const;

 private:
  // What is fetched at a time: stays in the nearest cache until the kernel has read it, and is
  // large enough that the system call behind it does not show.
  static constexpr size_t kFetchBytes = size_t{64} << 10;

  enum class StepResult : uint8_t { kBlocked, kDone, kMismatch, kFailed };

  StepResult run_step(BoundLane& lane, const BoundStep& step);
  StepResult run_send(BoundLane& lane, const BoundStep& step);
  StepResult run_kernel(BoundLane& lane, const BoundStep& step);
  StepResult run_local(const BoundStep& step);
  void run_offer(const BoundLane& lane, const BoundStep& step);
  // Whether the step must wait for another lane, or for a peer to give back a place it writes.
  bool waits(const BoundLane& lane, const BoundStep& step) const {
    return (step.wait_lane != kNoLane || step.num_lent != 0) && still_waits(lane, step);
  }
  bool still_waits(const BoundLane& lane, const BoundStep& step) const;
  bool is_missing(const BoundLane& lane, const BoundOperand& input) const;
  StepResult gather_inputs(BoundLane& lane, const BoundStep& step);
  const Message* look_for(RecvChannel& channel) const;
  StepResult check(const RecvEnd& end, const BoundLane& lane, const BoundOperand& operand,
                   size_t expected, const Message& message);
  int choose_destinations(const BoundStep& step);
  Status compute(const BoundStep& step, int num_dst);
  Status compute_parts(const BoundStep& step, int num_dst);
  Status fetch_copy(const BoundStep& step);
  Status compute_span(const BoundStep& step, size_t bytes, int num_dst);
  bool fetch_failed(const BoundStep& step) const;
  bool release_inputs(const BoundStep& step);
  bool post_outputs(BoundLane& lane, const BoundStep& step);
  StepResult run_rows(BoundLane& lane, const BoundStep& step);
  void post_row_receives(const BoundStep& step);
  StepResult check_rows(const RecvEnd& end, const BoundOperand& operand, size_t expected,
                        const Message& message);
  void hear_refusal(Refusal::Kind kind, int peer);
  StepResult gather_rows(BoundLane& lane, const BoundStep& step);
  Status compute_rows(const BoundStep& step);
  bool post_rows(BoundLane& lane, const BoundStep& step);
  void next_step(BoundLane& lane);
  bool all_sent() const;

  char* base(Buffer buffer) const { return base_[static_cast<size_t>(buffer)]; }
  char* address(const BoundOperand& o) const {
    return base(o.buffer) + plan_->parts[o.first_part].offset;
  }
  void fill_iovecs(const BoundOperand& operand);
  bool entries_lent(const BoundLane& lane, const BoundOperand& operand) const;
  bool post(const BoundLane& lane, const BoundOperand& operand);
  const OpHeader* header_for(const BoundLane& lane, const BoundOperand& operand) const {
    return lane.round == 0 && operand.message == 0 ? &header_ : nullptr;
  }

  // One end of the kernel call being prepared: parts in memory, the first of them cut to what is
  // left (`whole`) while several ends are walked together; or a message that this process cannot
  // address, which `remote` fetches.
  struct Cursor {
    const iovec* parts = nullptr;
    uint32_t num_parts = 0;
    iovec whole{};
    RecvChannel* remote = nullptr;
    void skip(size_t bytes);
  };

  const uint32_t looks_;
  Plan* plan_ = nullptr;
  const Device* device_ = nullptr;
  KernelGate* gate_ = nullptr;
  char* base_[kNumBuffers] = {};
  OpHeader header_{};
  Arithmetic how_;
  Surprise surprise_;
  Status failure_;
  Traffic traffic_;
  bool lanes_done_ = false;
  bool cut_ = false;  // the communicator has ended under a kernel
  // Of rows: messages are exchanged, but nothing is computed any more.
  bool drains_ = false;
  Refusal refusal_;
  uint64_t fingerprint_ = 0;  // of peers that take part
  iovec nothing_{};
  uint64_t steps_run_ = 0;
  // Working memory of the current step, sized in start().
  std::vector<Cursor> in_;
  std::vector<Cursor> out_;
  std::vector<const void*> src_;
  std::vector<void*> dst_;
  // A slice for each input, where the transport needs it. Not cleared: what no message needs stays
  // untouched and takes no memory.
  std::unique_ptr<std::byte[]> fetched_;
  size_t num_fetched_ = 0;  // slices
};

}  // namespace tutti
