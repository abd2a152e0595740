// RowBuilder: how dispatch and combine write a schedule of rows (rows.h).
//
//   RowBuilder b(nranks, rank, &schedule);
//   b.send(peer, b.list(Buffer::kInput, tokens));
//   b.begin(RowKernel::kCopy);
//   const uint32_t message = b.input(b.list(Buffer::kOutput, landing), peer);
//   b.output(b.list(Buffer::kOutput, rows));
//   for (uint32_t source : sources) b.row({{message, source, 1}});
//   b.end();
//
// One lane. Not thread-safe.
#pragma once

#include <initializer_list>
#include <span>

#include "comm/schedule/schedule.h"

namespace tutti {

class RowBuilder {
 public:
  struct Place {
    Buffer buffer;
    uint32_t set;
  };

  // Clears `out`.
  RowBuilder(int nranks, int rank, Schedule* out);

  Place list(Buffer buffer, std::span<const uint32_t> rows);
  Place run(Buffer buffer, uint32_t first, uint32_t count);

  void send(int peer, const Place& from);

  // A kRows step: its inputs, biases first; its outputs; its rows in the order of the first output;
  // end(). `peer`: the message that the place stands for.
  void begin(RowKernel kernel, bool weighted = false);
  uint32_t bias(const Place& place);
  uint32_t input(const Place& place, int peer = kLocal);
  void output(const Place& place, int peer = kLocal, uint8_t flags = 0);
  void row(std::span<const RowTerm> terms);
  void row(std::initializer_list<RowTerm> terms) {
    row(std::span<const RowTerm>(terms.begin(), terms.size()));
  }
  void end();

 private:
  Operand operand(const Place& place, int peer, uint8_t flags) const;
  Schedule* out_;
  Step step_ = {};
};

}  // namespace tutti
