// RowCompute: what one kRows step does to bytes, once all its messages are there. A value on the
// stack of the execution; the tables it fills are the plan's.
//
// Rows are read where they lie: in their buffer, or in the parts of a message. A row that two parts
// share is put together in its landing row. Of a message that this process cannot address the rows
// are fetched: by a copy to the first output row that wants them, else to their landing rows.
//
// The work is cut in stretches of about kStretchBytes, because what peers lent may be touched only
// inside the gate, and who closes it waits. Output rows and rows that are read do not overlap,
// unless they are the same row.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/exec/execution.h"

namespace tutti {

class RowCompute {
 public:
  RowCompute(Plan* plan, const BoundStep& step, char* const* bases, Stores stores,
             Traffic* traffic);

  bool more() const { return row_ < num_rows_; }
  // The next stretch.
  Status stretch();

 private:
  static constexpr size_t kStretchBytes = size_t{2} << 20;
  static constexpr uint32_t kMostOutputs = RowTables::kMostOutputs;

  // Rows of one operand in its buffer.
  struct Place {
    char* base;
    size_t stride;
    const uint32_t* indices;
    char* operator[](uint32_t row) const { return base + indices[row] * stride; }
  };

  // Neighbours that move together: from memory, or from `offset` of a message.
  struct Run {
    RecvChannel* channel = nullptr;
    size_t offset = 0;
    const char* src = nullptr;
    char* dst = nullptr;
    size_t bytes = 0;
  };

  uint32_t operand(uint32_t k) const { return step_.first + k; }
  const RowFormat& format(uint32_t k) const {
    return plan_->row_layout[plan_->operands[operand(k)].buffer];
  }
  Place place(uint32_t k) const;
  const char*& at(const RowTerm& term) const {
    return tables_.at[tables_.first[term.input] + term.row];
  }
  // The terms of output row `row_`.
  std::span<const RowTerm> terms() const {
    const uint32_t end = plan_->rows->ends[program_.first_end + row_];
    return {plan_->rows->terms.data() + term_, end - term_};
  }
  void next_row(size_t num_terms) {
    term_ += static_cast<uint32_t>(num_terms);
    ++row_;
  }
  void spend(size_t bytes) { left_ -= bytes < left_ ? bytes : left_; }

  Status find_input();
  void find_in_message(const Message& message);
  const char* put_together(char* landing, const iovec*& part, size_t& skip, size_t bytes);
  Status fetch_landing(RecvChannel& channel);

  Status copy_some();
  uint32_t targets_of(const RowTerm& term, const char* source, char** targets);
  Status extend(const Run& next);
  Status flush();
  void copy_batch();
  void zero_row();
  void sum_batch();
  void copy_sums(uint32_t first, uint32_t output);
  void quantise_batch();

  Plan* const plan_;
  const BoundStep& step_;
  char* const* const bases_;
  const Stores stores_;
  Traffic& traffic_;
  RowTables& tables_;
  const RowProgram& program_;
  uint32_t num_rows_;
  size_t bytes_;         // of an output row
  size_t source_bytes_;  // of an input row that is no bias
  std::array<Place, kMostOutputs> outputs_;
  uint32_t input_ = 0;    // inputs before it have been found
  uint32_t fetched_ = 0;  // rows of that input that have been fetched
  uint32_t row_ = 0;      // output rows done
  uint32_t term_;         // the first of row_
  size_t left_ = 0;       // of the stretch
  Run run_;
  size_t batched_ = 0;  // copies kept back for one call of the kernel
};

}  // namespace tutti
