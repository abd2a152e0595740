// The text form of steps with rows, for text.cc and text_parse.cc. Grammar: text.h.
#pragma once

#include <string>

#include "comm/base/status.h"
#include "comm/schedule/schedule.h"
#include "comm/schedule/text_words.h"

namespace tutti {

inline constexpr uint32_t kMaxRow = 1u << 24;         // numbers of rows are below it
inline constexpr uint32_t kMaxRowEntries = 1u << 22;  // indices, terms and output rows: of each

// Whether the operands of the step are sets of rows.
bool has_rows(const Schedule& schedule, const Step& step);

// The operands and the program of such a step. Its operands are in range.
std::string rows_text(const Schedule& schedule, const Step& step);

// Reads what rows_text() writes. Appends operands and rows to `schedule`; `step` has its `op` and
// its `first`.
class RowReader {
 public:
  RowReader(Schedule* schedule, Step* step) : s_(schedule), step_(step) {}
  Status read(Words& words);

 private:
  Status head(Words& words);
  Status operand(Words& words, bool output);
  Status set(Words& words, uint32_t* number);
  Status program(Words& words);
  Status item(Words& words);
  Status term(Words& words, RowTerm* out);
  Status add_term(Words& words, const RowTerm& term);
  Status add_output_row(Words& words);

  Schedule* s_;
  Step* step_;
};

}  // namespace tutti
