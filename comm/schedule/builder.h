// Builder: how algorithm files write a schedule.
//
//   Builder b(params, shape, &schedule);
//   b.send(peer, b.input(chunk));
//   b.recv(peer, b.scratch(0, b.input(chunk)));
//   b.reduce(b.output(chunk), {b.input(chunk), b.scratch(0, b.input(chunk))}, kFinal);
//
// Algorithms emit plain steps only: no fused forms, no offers. Not thread-safe.
#pragma once

#include <initializer_list>
#include <span>

#include "comm/schedule/schedule.h"

namespace tutti {

// A place and the data it holds: for input and output the two coincide.
struct Place {
  Buffer buffer;
  uint32_t chunk;
  Piece data;
};

class Builder {
 public:
  // Clears `out` and gives it one empty lane.
  Builder(const Params& params, Collective collective, Shape shape, Schedule* out);

  static Place input(uint32_t chunk, uint32_t nchunks = 1);
  static Place output(uint32_t chunk, uint32_t nchunks = 1);
  // `slot`: first scratch slot; holds data of `like`'s size in like's chunk-count of slots.
  static Place scratch(uint32_t slot, const Place& like);

  // Steps go to this lane from now on. Lanes are numbered from 0; growing is automatic.
  void lane(uint32_t index);
  // The next step starts only after the last step emitted so far on `other`.
  void after(uint32_t other);

  void send(int peer, const Place& from);
  void recv(int peer, const Place& to, uint8_t operand_flags = 0);  // flags: kReply
  void copy(const Place& to, const Place& from);  // nothing when both are the same place
  void reduce(const Place& to, std::span<const Place> from, uint8_t step_flags = 0);
  void reduce(const Place& to, std::initializer_list<Place> from, uint8_t step_flags = 0) {
    reduce(to, std::span<const Place>(from.begin(), from.size()), step_flags);
  }
  // A zero-byte message each way round: the data of a barrier.
  static Place nothing();

 private:
  Step& push(Op op, const Piece& data, uint8_t flags);
  Schedule* out_;
  uint32_t lane_ = 0;
  uint16_t wait_lane_ = kNoLane;
  uint32_t wait_step_ = 0;
};

}  // namespace tutti
