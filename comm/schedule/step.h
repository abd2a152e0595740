// Step, Operand: the plain data a schedule is made of.
//
// A step reads n_in operands and writes n_out operands, all of the same size. An operand is a place
// of this rank (a run of chunks in a buffer), or a message that is reached through that place:
//   input  operand with a peer: the next message from `peer`; its place is where it lands when the
//          transport cannot show it where it lies (view);
//   output operand with a peer: the next message to `peer`, made by this step; its place is where
//          the bytes are written when the peer's offer cannot be used (place).
// Algorithms emit send, recv, copy and reduce on plain places; the fuse pass (fuse.h) turns
// recv + reduce + send into one reduce with messages at both ends, and the offer pass (same header)
// adds offers. Names of the fused forms (recv_reduce_copy_send, ...) follow MSCCL and NCCL.
#pragma once

#include <cstdint>

namespace tutti {

enum class Buffer : uint8_t {
  kInput,
  kOutput,
  kScratch,
  // Of schedules with rows (rows.h) only: what travels beside rows of the first three, a row each
  // (scales) or one for each assignment (weights), and what sums start from.
  kInputSide,
  kOutputSide,
  kScratchSide,
  kInputValue,
  kOutputValue,
  kScratchValue,
  kBias0,
  kBias1,
};
inline constexpr int kNumBuffers = 11;

// A run of chunks that gives a step its size: chunks [chunk, chunk + nchunks) of input or output.
// Scratch has no sizes of its own, so a scratch place always says which data it holds.
struct Piece {
  Buffer buffer;
  uint32_t chunk;
  uint32_t nchunks;
  bool operator==(const Piece&) const = default;
};

inline constexpr int32_t kLocal = -1;

struct Operand {
  Buffer buffer;
  uint8_t flags;      // Operand flags below
  uint16_t reserved;  // zero
  uint32_t chunk;     // first chunk of the place; in scratch: first slot; or a RowSet (rows.h)
  int32_t peer;       // kLocal, or the rank the message comes from or goes to
  bool operator==(const Operand&) const = default;
};
static_assert(sizeof(Operand) == 12);

// Output operand: the place is read later (or is a result), so it must be written even when the
// message it makes is written straight into the peer's memory.
inline constexpr uint8_t kKeep = 1;
// Input operand of a recv: the peer made this message after it had consumed everything this rank
// sent it before on this lane, so the place may be offered while it is still lent to that peer.
// A claim by the algorithm; the verifier proves it.
inline constexpr uint8_t kReply = 2;

enum class Op : uint8_t {
  kSend,    // lends one place to a peer: done for the lane when posted
  kRecv,    // one message into one place
  kCopy,    // one input to n_out outputs
  kReduce,  // n_in inputs folded left to right, rounded once, to n_out outputs
  kOffer,   // tells a peer where message `ordinal` from it may be written; no data moves
  kRows,    // rows of n_in operands to rows of n_out operands, by a program (rows.h)
};

// Step flags.
inline constexpr uint8_t kFinal =
    1;  // reduce: the last reduction of these chunks (avg divides here)

inline constexpr uint16_t kNoLane = 0xffff;

struct Step {
  Op op;
  uint8_t flags;
  Buffer data_buffer;  // with data_chunk, data_nchunks: the Piece every operand has the size of
  uint8_t reserved;    // zero
  uint16_t n_in;
  uint16_t n_out;
  uint32_t first;         // operands [first, first + n_in) are inputs, then n_out outputs
  uint32_t data_chunk;    // kRows: the program
  uint32_t data_nchunks;  // kRows: its output rows
  uint32_t ordinal;       // offer: which message of this schedule on (peer -> this rank, this lane)
  uint32_t wait_step;     // starts only after step wait_step of wait_lane is done
  uint16_t wait_lane;     // kNoLane: no such wait
  uint16_t reserved2;     // zero

  Piece data() const { return {data_buffer, data_chunk, data_nchunks}; }
  bool operator==(const Step&) const = default;
};
static_assert(sizeof(Step) == 32);

}  // namespace tutti
