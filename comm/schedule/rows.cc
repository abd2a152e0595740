#include "comm/schedule/rows.h"

#include <algorithm>
#include <bit>

#include "comm/schedule/schedule.h"

namespace tutti {

void Rows::clear() {
  indices.clear();
  sets.clear();
  programs.clear();
  ends.clear();
  terms.clear();
}

bool Rows::has_set(uint32_t set) const {
  return set < sets.size() && sets[set].first <= indices.size() &&
         sets[set].count <= indices.size() - sets[set].first;
}

bool Rows::has_program(uint32_t program, uint32_t output_rows) const {
  if (program >= programs.size()) return false;
  const RowProgram& p = programs[program];
  if (p.first_end > ends.size() || output_rows > ends.size() - p.first_end) return false;
  uint32_t last = p.first_term;
  for (uint32_t row = 0; row < output_rows; ++row) {
    const uint32_t end = ends[p.first_end + row];
    if (end < last) return false;
    last = end;
  }
  return last <= terms.size();
}

namespace {

// By bits: a weight that is no number is still the same one.
bool same_term(const RowTerm& a, const RowTerm& b) {
  return a.input == b.input && a.row == b.row &&
         std::bit_cast<uint32_t>(a.weight) == std::bit_cast<uint32_t>(b.weight);
}

bool same_program(const Rows& a, uint32_t program, const Rows& b, uint32_t other, uint32_t rows) {
  if (!a.has_program(program, rows) || !b.has_program(other, rows)) return false;
  const RowProgram& mine = a.programs[program];
  const RowProgram& theirs = b.programs[other];
  if (mine.kernel != theirs.kernel || mine.weighted != theirs.weighted ||
      mine.num_biases != theirs.num_biases) {
    return false;
  }
  for (uint32_t row = 0; row < rows; ++row) {
    if (!std::ranges::equal(a.terms_of(mine, row), b.terms_of(theirs, row), same_term)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool same_rows(const Schedule& a, const Step& x, const Schedule& b, const Step& y) {
  for (uint32_t k = 0; k < uint32_t{x.n_in} + x.n_out; ++k) {
    const Operand& mine = a.operands[x.first + k];
    const Operand& theirs = b.operands[y.first + k];
    if (mine.buffer != theirs.buffer || mine.flags != theirs.flags || mine.peer != theirs.peer ||
        !a.rows.has_set(mine.chunk) || !b.rows.has_set(theirs.chunk) ||
        !std::ranges::equal(a.rows.of(mine.chunk), b.rows.of(theirs.chunk))) {
      return false;
    }
  }
  return x.op != Op::kRows ||
         same_program(a.rows, x.data_chunk, b.rows, y.data_chunk, x.data_nchunks);
}

}  // namespace tutti
