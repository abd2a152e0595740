// Rows: what the schedules of dispatch and combine are made of. Where the chunks of a collective
// follow from counts, these depend on the routing: every place is a list of rows of a buffer, and
// what becomes of rows is said row by row. Such a schedule lives for one call (schedule.h, `rows`);
// it runs through the same executor and verifier, where a row is a chunk.
//
// In a schedule with rows the `chunk` of every operand is a RowSet. A send lends the rows of its
// set, in that order, as one message; an input with a peer is a message of as many rows as its set
// has, which land in them where the transport cannot show the message. Op::kRows computes its
// output rows, each by itself, from the terms that its program lists. Values.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tutti {

// The closed table of what an Op::kRows step does to rows.
enum class RowKernel : uint8_t {
  kCopy,      // one term: that row; none: zeros
  kSum,       // the biases first, then the terms in order, times their weights; rounded once
  kQuantise,  // one term; the first output takes the values, the second the scales
};

// Rows indices[first .. first + count) of the buffer of the operand that names the set.
struct RowSet {
  uint32_t first = 0;
  uint32_t count = 0;
  bool operator==(const RowSet&) const = default;
};

// Row number `row` of the set of input operand `input` of the step.
struct RowTerm {
  uint32_t input = 0;
  uint32_t row = 0;
  float weight = 1;
  bool operator==(const RowTerm&) const = default;
};

// Output row i has the terms [ends[first_end + i - 1], ends[first_end + i]), from first_term on for
// the first. Copies have their terms in an order that reads the same row again soon, if at all.
struct RowProgram {
  RowKernel kernel = RowKernel::kCopy;
  bool weighted = false;    // kSum: times the weights; else they are 1
  uint16_t num_biases = 0;  // kSum: the first inputs of the step, with a row for each output row
  uint32_t first_end = 0;
  uint32_t first_term = 0;
  bool operator==(const RowProgram&) const = default;
};

struct Rows {
  std::vector<uint32_t> indices;
  std::vector<RowSet> sets;
  std::vector<RowProgram> programs;
  std::vector<uint32_t> ends;
  std::vector<RowTerm> terms;

  bool empty() const { return sets.empty(); }
  std::span<const uint32_t> of(const RowSet& set) const {
    return {indices.data() + set.first, set.count};
  }
  std::span<const RowTerm> terms_of(const RowProgram& program, uint32_t output_row) const {
    const uint32_t begin =
        output_row == 0 ? program.first_term : ends[program.first_end + output_row - 1];
    return {terms.data() + begin, ends[program.first_end + output_row] - begin};
  }
  std::span<const uint32_t> of(uint32_t set) const { return of(sets[set]); }
  void clear();  // keeps capacity

  // Whether what an operand or a kRows step names lies within these arrays.
  bool has_set(uint32_t set) const;
  bool has_program(uint32_t program, uint32_t output_rows) const;
  bool operator==(const Rows&) const = default;
};

}  // namespace tutti
