#include "comm/schedule/text_rows.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "comm/schedule/text.h"

namespace tutti {

namespace {

const char* name_of(RowKernel kernel) {
  switch (kernel) {
    case RowKernel::kCopy:
      return "copy";
    case RowKernel::kSum:
      return "sum";
    case RowKernel::kQuantise:
      return "quantise";
  }
  return "no kernel";
}

// "3", "3 4" or "3..7": what counts up by one from `from`, `count` numbers long.
std::string run_text(uint32_t from, size_t count) {
  std::string out = std::to_string(from);
  if (count > 1) out += (count == 2 ? " " : "..") + std::to_string(uint64_t{from} + count - 1);
  return out;
}

std::string set_text(std::span<const uint32_t> rows) {
  std::string out;
  for (size_t i = 0; i < rows.size();) {
    size_t n = 1;
    while (i + n < rows.size() && rows[i + n - 1] != 0xffffffff &&
           rows[i + n] == rows[i + n - 1] + 1) {
      ++n;
    }
    out += (i == 0 ? "" : " ") + run_text(rows[i], n);
    i += n;
  }
  return "{" + out + "}";
}

std::string operand_text(const Schedule& s, const Step& step, uint32_t k) {
  const Operand& o = s.operands[step.first + k];
  const bool output = k >= step.n_in;
  std::string out;
  if (o.peer != kLocal) out = std::to_string(o.peer);
  // The peer of a send says no more than that.
  const Operand& lent = s.operands[step.first];
  const bool bare = step.op == Op::kSend && k == 1 && o.peer != kLocal && o.buffer == lent.buffer &&
                    std::ranges::equal(s.rows.of(o.chunk), s.rows.of(lent.chunk));
  if (!bare) {
    out += (out.empty() ? "" : ":") + std::string(name_of(o.buffer)) + set_text(s.rows.of(o.chunk));
  }
  const bool keeps = (o.flags & kKeep) != 0;
  const bool usual = output && step.op == Op::kSend;
  if (keeps != usual) out += keeps ? " keep" : " nokeep";
  if ((o.flags & kReply) != 0) out += " reply";
  return out;
}

bool is_one(float weight) {
  return std::bit_cast<uint32_t>(weight) == std::bit_cast<uint32_t>(1.0f);
}

std::string term_text(const RowTerm& t) {
  std::string out = std::to_string(t.input) + ":" + std::to_string(t.row);
  if (is_one(t.weight)) return out;
  if (std::isnan(t.weight)) {
    return out + " * bits " + std::to_string(std::bit_cast<uint32_t>(t.weight));
  }
  char number[32];
  const auto end = std::to_chars(number, number + sizeof number, t.weight).ptr;
  return out + " * " + std::string(number, end);
}

// One term and no weight: what most rows of a copy have, and what runs are made of.
bool is_plain(std::span<const RowTerm> terms) {
  return terms.size() == 1 && is_one(terms[0].weight);
}

std::string program_text(const Rows& rows, const Step& step) {
  const RowProgram& program = rows.programs[step.data_chunk];
  std::string out;
  for (uint32_t row = 0; row < step.data_nchunks;) {
    const auto terms = rows.terms_of(program, row);
    if (row != 0) out += ' ';
    uint32_t n = 1;
    if (is_plain(terms)) {
      const auto follows = [&](std::span<const RowTerm> next) {
        return is_plain(next) && next[0].input == terms[0].input &&
               next[0].row == uint64_t{terms[0].row} + n;
      };
      while (row + n < step.data_nchunks && follows(rows.terms_of(program, row + n))) ++n;
      out += std::to_string(terms[0].input) + ":" + std::to_string(terms[0].row);
      if (n > 1) out += ".." + std::to_string(terms[0].row + n - 1);
    } else {
      out += '(';
      for (size_t i = 0; i < terms.size(); ++i) out += (i == 0 ? "" : " + ") + term_text(terms[i]);
      out += ')';
    }
    row += n;
  }
  return "{" + out + "}";
}

bool in_range(const Schedule& s, const Step& step) {
  for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
    if (!s.rows.has_set(s.operands[step.first + k].chunk)) return false;
  }
  return step.op != Op::kRows || s.rows.has_program(step.data_chunk, step.data_nchunks);
}

}  // namespace

bool has_rows(const Schedule& s, const Step& step) {
  return step.op == Op::kRows || (step.op == Op::kSend && !s.rows.empty());
}

std::string rows_text(const Schedule& s, const Step& step) {
  if (!in_range(s, step)) return "rows that are out of range";
  std::string out;
  if (step.op == Op::kRows) {
    const RowProgram& program = s.rows.programs[step.data_chunk];
    out = name_of(program.kernel);
    if (program.weighted) out += " weighted";
    if (program.num_biases > 0) out += " biases " + std::to_string(program.num_biases);
    out += ' ';
  }
  for (uint32_t k = 0; k < step.n_in; ++k) out += (k == 0 ? "" : " + ") + operand_text(s, step, k);
  out += step.n_in == 0 ? "->" : " ->";
  for (uint32_t k = 0; k < step.n_out; ++k) {
    out += (k == 0 ? " " : ", ") + operand_text(s, step, step.n_in + k);
  }
  return step.op == Op::kRows ? out + " " + program_text(s.rows, step) : out;
}

}  // namespace tutti
