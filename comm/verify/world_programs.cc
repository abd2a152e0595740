// World, continued: the programs of steps with rows, and how the rows of one step may coincide.
//
// A step writes each row once. A row that it writes may be read only to make that very row. A row
// where a message may land is touched by nothing else of the step, but for an output row that is a
// copy of just the row that lands there: then the message may land in its final place.
#include <algorithm>

#include "comm/verify/report.h"
#include "comm/verify/world.h"

namespace tutti {

namespace {
using Kind = Defect::Kind;
constexpr uint64_t kMaxTerms = uint64_t{1} << 25;
constexpr uint32_t kSeveral = kNothing - 1;

// Mark bits.
constexpr uint8_t kLanding = 1;
constexpr uint8_t kWritten = 2;
}  // namespace

World::Found World::add_program(const Schedule& s, uint32_t lane, uint32_t index) {
  const Step& step = s.lanes[lane].steps[index];
  const auto malformed = [&](std::string expected, std::string got) {
    return defect_at(Kind::kMalformed, s.rank, lane, index, std::move(expected), std::move(got));
  };
  if (!s.rows.has_program(step.data_chunk, step.data_nchunks)) {
    return malformed("a program within " + std::to_string(s.rows.programs.size()) + " programs, " +
                         std::to_string(s.rows.ends.size()) + " ends, " +
                         std::to_string(s.rows.terms.size()) + " terms",
                     "program " + std::to_string(step.data_chunk) + " of " +
                         std::to_string(step.data_nchunks) + " rows");
  }
  RowProgram program = s.rows.programs[step.data_chunk];
  if (Found found = check_program(s, program, lane, index)) return found;
  Rows& all = rows.all;
  const RowProgram given = program;
  program.first_end = static_cast<uint32_t>(all.ends.size());
  program.first_term = static_cast<uint32_t>(all.terms.size());
  for (uint32_t row = 0; row < step.data_nchunks; ++row) {
    const auto terms = s.rows.terms_of(given, row);
    if (all.terms.size() + terms.size() > kMaxTerms || all.ends.size() >= kMaxTerms) {
      return malformed("terms at most " + std::to_string(kMaxTerms), "more");
    }
    const bool fits = given.kernel == RowKernel::kSum || terms.size() == 1 ||
                      (given.kernel == RowKernel::kCopy && terms.empty());
    if (!fits) {
      return malformed(given.kernel == RowKernel::kCopy ? "at most one term" : "one term",
                       std::to_string(terms.size()) + " terms of row " + std::to_string(row));
    }
    for (const RowTerm& t : terms) {
      if (t.input >= step.n_in || t.row >= row_place(t.input).size()) {
        return malformed("terms that are rows of an input of the step",
                         "row " + std::to_string(t.row) + " of input " + std::to_string(t.input));
      }
    }
    all.terms.insert(all.terms.end(), terms.begin(), terms.end());
    all.ends.push_back(static_cast<uint32_t>(all.terms.size()));
  }
  rows.program_of.back() = static_cast<uint32_t>(all.programs.size());
  all.programs.push_back(program);
  return std::nullopt;
}

// The cells of operand k of the step being added.
std::span<const uint32_t> World::row_place(uint32_t k) const {
  return rows.cells(operands[steps.back().first + k].cell);
}

World::Found World::check_program(const Schedule& s, const RowProgram& program, uint32_t lane,
                                  uint32_t index) const {
  const Step& step = s.lanes[lane].steps[index];
  const auto malformed = [&](std::string expected, std::string got) {
    return defect_at(Kind::kMalformed, s.rank, lane, index, std::move(expected), std::move(got));
  };
  const bool quantises = program.kernel == RowKernel::kQuantise;
  if (program.kernel > RowKernel::kQuantise) {
    return malformed("a kernel", "number " + std::to_string(static_cast<int>(program.kernel)));
  }
  if (program.kernel != RowKernel::kSum && (program.weighted || program.num_biases > 0)) {
    return malformed("weights and biases of a sum", "those of another kernel");
  }
  if (program.num_biases > step.n_in) {
    return malformed("biases among the inputs", std::to_string(program.num_biases));
  }
  if (quantises && step.n_out != 2) {
    return malformed("two outputs, values and scales", std::to_string(step.n_out));
  }
  const RowRole role = quantises ? RowRole::kMain : role_of(s.outputs(step)[0].buffer);
  for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
    const Operand& o = s.operands[step.first + k];
    const bool scales = quantises && k == uint32_t{step.n_in} + 1;
    const RowRole expected = scales ? RowRole::kSide : role;
    if (role_of(o.buffer) != expected) {
      return malformed(name_of(expected), name_of(role_of(o.buffer)));
    }
    const bool per_row = k >= step.n_in || k < program.num_biases;
    if (per_row && row_place(k).size() != step.data_nchunks) {
      return malformed(std::to_string(step.data_nchunks) + " rows, as the program makes",
                       std::to_string(row_place(k).size()) + " rows");
    }
    if (k < program.num_biases && o.peer != kLocal) {
      return malformed("biases of this rank", "a message");
    }
  }
  return std::nullopt;
}

World::Found World::row_conflict(const Schedule& s, uint32_t lane, uint32_t index, uint32_t cell,
                                 std::string expected, const char* what) const {
  const std::string name = row_cell_name(static_cast<uint32_t>(s.rank), cell, nullptr);
  Defect d =
      defect_at(Kind::kForbiddenWrite, s.rank, lane, index, std::move(expected), name + " " + what);
  d.place = row_cell_name(static_cast<uint32_t>(s.rank), cell, &d.chunk);
  return d;
}

World::Found World::mark_landings(const Schedule& s, uint32_t lane, uint32_t index) {
  const WorldStep& step = steps.back();
  for (uint32_t i = 0; i < step.n_in; ++i) {
    if (operands[step.first + i].channel == kNothing) continue;
    const auto cells = row_place(i);
    for (uint32_t row = 0; row < cells.size(); ++row) {
      RowMark& mark = row_marks_[cells[row]];
      if (mark.step == serial_) {
        return row_conflict(s, lane, index, cells[row], "a landing row for each row of messages",
                            "twice");
      }
      mark = {serial_, i, row, kNothing, kLanding};
    }
  }
  return std::nullopt;
}

World::Found World::mark_reads(const Schedule& s, uint32_t lane, uint32_t index) {
  const WorldStep& step = steps.back();
  const RowProgram& program = rows.all.programs.back();
  const auto read = [&](uint32_t output_row, uint32_t cell) {
    RowMark& mark = row_marks_[cell];
    if (mark.step != serial_) mark = {serial_, 0, 0, output_row, 0};
    if (mark.reader != output_row) mark.reader = kSeveral;
    return (mark.bits & kLanding) == 0;
  };
  const char* const wanted = "a landing row that the step does not read";
  for (uint32_t row = 0; row < step.nchunks; ++row) {
    for (uint32_t i = 0; i < program.num_biases; ++i) {
      const uint32_t cell = row_place(i)[row];
      if (!read(row, cell)) return row_conflict(s, lane, index, cell, wanted, "is read");
    }
    for (const RowTerm& t : rows.all.terms_of(program, row)) {
      if (operands[step.first + t.input].channel != kNothing) continue;
      const uint32_t cell = row_place(t.input)[t.row];
      if (!read(row, cell)) return row_conflict(s, lane, index, cell, wanted, "is read");
    }
  }
  return std::nullopt;
}

World::Found World::mark_writes(const Schedule& s, uint32_t lane, uint32_t index) {
  const WorldStep& step = steps.back();
  const RowProgram& program = rows.all.programs.back();
  for (uint32_t i = 0; i < step.n_out; ++i) {
    const auto cells = row_place(step.n_in + i);
    for (uint32_t row = 0; row < cells.size(); ++row) {
      RowMark& mark = row_marks_[cells[row]];
      if (mark.step != serial_) mark = {serial_, 0, 0, kNothing, 0};
      if ((mark.bits & kWritten) != 0) {
        return row_conflict(s, lane, index, cells[row], "each row written once in a step",
                            "written twice");
      }
      mark.bits |= kWritten;
      if ((mark.bits & kLanding) != 0) {
        const auto terms = rows.all.terms_of(program, row);
        if (program.kernel == RowKernel::kCopy && terms.size() == 1 &&
            terms[0].input == mark.input && terms[0].row == mark.row) {
          continue;
        }
        return row_conflict(s, lane, index, cells[row],
                            "an output row that is what lands there, or apart from it",
                            "made of something else");
      }
      const bool own = mark.reader == row && program.kernel != RowKernel::kQuantise;
      if (mark.reader != kNothing && !own) {
        return row_conflict(s, lane, index, cells[row],
                            "a row that the step reads for that very row only",
                            "read for other rows too");
      }
    }
  }
  return std::nullopt;
}

}  // namespace tutti
