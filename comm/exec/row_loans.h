// RowLoans: which messages must be back before rows are written that they lend.
//
// Walks the steps of a lane in order while a plan of rows is bound: what a step writes is collected
// first, then what it sends is lent. Each row costs a few nanoseconds, however often it is lent.
// Exact, as the verifier's model is: waiting for more than that could deadlock. Keeps its memory
// from one plan to the next. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/schedule/step.h"

namespace tutti {

// Before the step writes: message `message` of `channel` must have been given back.
struct Lent {
  uint32_t channel;
  uint32_t message;
  bool previous_round;
};

class RowLoans {
 public:
  void clear();

  void lend(Buffer buffer, std::span<const uint32_t> rows, uint32_t channel, uint32_t message);
  // These rows will be written: the loans on them are needed back, and over then.
  void collect(Buffer buffer, std::span<const uint32_t> rows);
  // Appends what was collected: of each channel the last message, as they are given back in order.
  void take(std::vector<Lent>* out);

 private:
  struct Loan {
    uint32_t channel;
    uint32_t message;
    uint32_t older;  // of the same row: number in loans_ plus 1, or 0
  };

  std::array<std::vector<uint32_t>, kNumBuffers> newest_;  // of each row, as Loan::older
  std::vector<Loan> loans_;
  std::vector<uint32_t> needed_;    // by channel: last message plus 1, or 0
  std::vector<uint32_t> channels_;  // with an entry in needed_
};

}  // namespace tutti
