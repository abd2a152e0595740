// RowReader: the parser's part for steps with rows. What a few characters can stand for (a run of
// rows) is bounded before it is written out.
#include <bit>

#include "comm/schedule/text_rows.h"

namespace tutti {

namespace {

struct BufferName {
  const char* name;
  Buffer buffer;
};
constexpr BufferName kBufferNames[] = {
    {"input", Buffer::kInput},
    {"output", Buffer::kOutput},
    {"scratch", Buffer::kScratch},
    {"input_side", Buffer::kInputSide},
    {"output_side", Buffer::kOutputSide},
    {"scratch_side", Buffer::kScratchSide},
    {"input_value", Buffer::kInputValue},
    {"output_value", Buffer::kOutputValue},
    {"scratch_value", Buffer::kScratchValue},
    {"bias0", Buffer::kBias0},
    {"bias1", Buffer::kBias1},
};

}  // namespace

Status RowReader::read(Words& words) {
  if (step_->op == Op::kRows) TUTTI_TRY(head(words));
  while (words.peek() != "->") {
    TUTTI_TRY(operand(words, false));
    if (!words.take("+")) break;
  }
  TUTTI_TRY(words.expect("->"));
  do {
    TUTTI_TRY(operand(words, true));
  } while (words.take(","));
  return step_->op == Op::kRows ? program(words) : Status();
}

Status RowReader::head(Words& words) {
  RowProgram program;
  if (words.take("copy")) {
    program.kernel = RowKernel::kCopy;
  } else if (words.take("sum")) {
    program.kernel = RowKernel::kSum;
  } else if (words.take("quantise")) {
    program.kernel = RowKernel::kQuantise;
  } else {
    return words.wrong("copy, sum or quantise");
  }
  program.weighted = words.take("weighted");
  if (words.take("biases")) {
    uint32_t number = 0;
    TUTTI_TRY(words.number("biases", 0x10000, &number));
    program.num_biases = static_cast<uint16_t>(number);
  }
  program.first_end = static_cast<uint32_t>(s_->rows.ends.size());
  program.first_term = static_cast<uint32_t>(s_->rows.terms.size());
  step_->data_chunk = static_cast<uint32_t>(s_->rows.programs.size());
  s_->rows.programs.push_back(program);
  return {};
}

Status RowReader::operand(Words& words, bool output) {
  uint16_t* const count = output ? &step_->n_out : &step_->n_in;
  if (*count == 0xffff) return words.wrong("fewer operands");
  Operand o{};
  o.peer = kLocal;
  bool bare = false;
  if (words.at_number()) {
    uint32_t peer = 0;
    TUTTI_TRY(words.number("a peer", static_cast<uint64_t>(s_->nranks), &peer));
    if (peer == static_cast<uint32_t>(s_->rank)) return words.wrong("a peer", "the rank itself");
    o.peer = static_cast<int32_t>(peer);
    bare = !words.take(":");
  }
  if (bare) {
    if (!output || step_->op != Op::kSend || step_->n_in == 0) {
      return words.wrong("':' and the rows of the message");
    }
    o.buffer = s_->operands[step_->first].buffer;
    o.chunk = s_->operands[step_->first].chunk;
  } else {
    const std::string_view name = words.peek();
    const BufferName* known = nullptr;
    for (const BufferName& candidate : kBufferNames) {
      if (name == candidate.name) known = &candidate;
    }
    if (known == nullptr) return words.wrong("a buffer");
    words.next();
    o.buffer = known->buffer;
    TUTTI_TRY(set(words, &o.chunk));
  }
  o.flags = output && step_->op == Op::kSend ? kKeep : 0;
  if (words.take("keep")) {
    o.flags |= kKeep;
  } else if (words.take("nokeep")) {
    o.flags = static_cast<uint8_t>(o.flags & ~kKeep);
  }
  if (words.take("reply")) o.flags |= kReply;
  s_->operands.push_back(o);
  ++*count;
  return {};
}

Status RowReader::set(Words& words, uint32_t* number) {
  std::vector<uint32_t>& indices = s_->rows.indices;
  RowSet set{static_cast<uint32_t>(indices.size()), 0};
  TUTTI_TRY(words.expect("{"));
  while (!words.take("}")) {
    uint32_t first = 0;
    TUTTI_TRY(words.number("a row", kMaxRow, &first));
    uint32_t last = first;
    if (words.take("..")) TUTTI_TRY(words.number("a row", kMaxRow, &last));
    if (last < first) return words.wrong("rows that count up", std::to_string(last));
    if (last - first >= kMaxRowEntries - indices.size()) {
      return words.wrong("at most 4 M rows in sets");
    }
    for (uint32_t row = first; row <= last; ++row) indices.push_back(row);
  }
  set.count = static_cast<uint32_t>(indices.size()) - set.first;
  *number = static_cast<uint32_t>(s_->rows.sets.size());
  s_->rows.sets.push_back(set);
  return {};
}

Status RowReader::program(Words& words) {
  TUTTI_TRY(words.expect("{"));
  while (!words.take("}")) TUTTI_TRY(item(words));
  return {};
}

Status RowReader::item(Words& words) {
  RowTerm t;
  if (words.take("(")) {
    if (words.take(")")) return add_output_row(words);
    do {
      TUTTI_TRY(term(words, &t));
      TUTTI_TRY(add_term(words, t));
    } while (words.take("+"));
    TUTTI_TRY(words.expect(")"));
    return add_output_row(words);
  }
  TUTTI_TRY(term(words, &t));
  uint32_t last = t.row;
  if (words.take("..")) {
    const Operand& in = s_->operands[step_->first + t.input];
    TUTTI_TRY(words.number("a row of its input", s_->rows.sets[in.chunk].count, &last));
    if (last < t.row) return words.wrong("rows that count up", std::to_string(last));
  }
  for (; t.row <= last; ++t.row) {
    TUTTI_TRY(add_term(words, t));
    TUTTI_TRY(add_output_row(words));
  }
  return {};
}

Status RowReader::term(Words& words, RowTerm* out) {
  *out = RowTerm();
  TUTTI_TRY(words.number("an input", step_->n_in, &out->input));
  TUTTI_TRY(words.expect(":"));
  const Operand& in = s_->operands[step_->first + out->input];
  TUTTI_TRY(words.number("a row of its input", s_->rows.sets[in.chunk].count, &out->row));
  if (!words.take("*")) return {};
  if (!words.take("bits")) return words.real("a weight", &out->weight);
  uint32_t bits = 0;
  TUTTI_TRY(words.number("the bits of a weight", uint64_t{1} << 32, &bits));
  out->weight = std::bit_cast<float>(bits);
  return {};
}

Status RowReader::add_term(Words& words, const RowTerm& term) {
  if (s_->rows.terms.size() >= kMaxRowEntries) return words.wrong("at most 4 M terms");
  s_->rows.terms.push_back(term);
  return {};
}

Status RowReader::add_output_row(Words& words) {
  if (s_->rows.ends.size() >= kMaxRowEntries) return words.wrong("at most 4 M output rows");
  s_->rows.ends.push_back(static_cast<uint32_t>(s_->rows.terms.size()));
  ++step_->data_nchunks;
  return {};
}

}  // namespace tutti
