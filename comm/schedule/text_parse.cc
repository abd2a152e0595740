// parse_schedule: a hand-written reader of the text form, one line at a time. Every number is
// bounded before it is used; what is wrong is said once, with its line.
#include <string>

#include "comm/schedule/catalog.h"
#include "comm/schedule/text.h"
#include "comm/schedule/text_rows.h"
#include "comm/schedule/text_words.h"

namespace tutti {

namespace {

constexpr uint32_t kMaxSteps = 1u << 20;
constexpr uint32_t kMaxOperands = 1u << 22;
constexpr uint32_t kMaxRanks = 1u << 20;
constexpr uint32_t kMaxLanes = 1024;
constexpr uint32_t kMaxChunks = 1u << 24;

struct OpName {
  const char* name;
  Op op;
};
// What operands make of an operation is checked after they are read.
constexpr OpName kOpNames[] = {
    {"send", Op::kSend},
    {"recv", Op::kRecv},
    {"copy", Op::kCopy},
    {"copy_send", Op::kCopy},
    {"recv_copy", Op::kCopy},
    {"recv_copy_send", Op::kCopy},
    {"reduce", Op::kReduce},
    {"reduce_send", Op::kReduce},
    {"reduce_copy_send", Op::kReduce},
    {"recv_reduce", Op::kReduce},
    {"recv_reduce_send", Op::kReduce},
    {"recv_reduce_copy_send", Op::kReduce},
    {"offer", Op::kOffer},
    {"rows", Op::kRows},
    {"recv_rows", Op::kRows},
    {"rows_send", Op::kRows},
    {"recv_rows_send", Op::kRows},
};

class Parser {
 public:
  Result<Schedule> parse(std::string_view text, int first_line) {
    int number = first_line;
    enum { kHeader, kShape, kBody } stage = kHeader;
    for (; !text.empty(); ++number) {
      const size_t end = text.find('\n');
      Words words(text.substr(0, end), number);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (words.at_end()) continue;
      if (stage == kHeader) {
        TUTTI_TRY(header(words));
        stage = rows_ ? kBody : kShape;
      } else if (stage == kShape) {
        TUTTI_TRY(shape(words));
        stage = kBody;
      } else if (words.peek() == "lane") {
        TUTTI_TRY(lane(words));
      } else {
        TUTTI_TRY(step(words));
      }
      if (!words.at_end()) return words.wrong("the end of the line");
    }
    if (stage != kBody) {
      return error(Code::kInvalidArgument, "schedule text line %d: expected %s, got the end",
                   number, stage == kHeader ? "'schedule'" : "'shape'");
    }
    TUTTI_TRY(check_waits());
    return std::move(s_);
  }

 private:
  Status header(Words& words) {
    TUTTI_TRY(words.expect("schedule"));
    rows_ = words.take("rows");
    const auto collective = parse_collective(words.peek());
    if (!rows_) {
      if (!collective) return words.wrong("a collective");
      words.next();
      s_.collective = *collective;
    }
    uint32_t nranks = 0, rank = 0, root = 0, in_place = 0;
    TUTTI_TRY(words.expect("nranks"));
    TUTTI_TRY(words.number("ranks", kMaxRanks + 1, &nranks));
    TUTTI_TRY(words.expect("rank"));
    TUTTI_TRY(words.number("a rank", nranks, &rank));
    s_.nranks = static_cast<int>(nranks);
    s_.rank = static_cast<int>(rank);
    if (rows_) return {};
    TUTTI_TRY(words.expect("root"));
    TUTTI_TRY(words.number("a root", nranks, &root));
    TUTTI_TRY(words.expect("in_place"));
    TUTTI_TRY(words.number("0 or 1,", 2, &in_place));
    s_.root = static_cast<int>(root);
    s_.in_place = in_place != 0;
    return {};
  }

  Status shape(Words& words) {
    Shape& shape = s_.shape;
    TUTTI_TRY(words.expect("shape"));
    TUTTI_TRY(words.expect("input_blocks"));
    TUTTI_TRY(words.number("blocks", kMaxRanks + 1, &shape.input_blocks));
    TUTTI_TRY(words.expect("output_blocks"));
    TUTTI_TRY(words.number("blocks", kMaxRanks + 1, &shape.output_blocks));
    TUTTI_TRY(words.expect("chunks_per_block"));
    TUTTI_TRY(words.number("chunks", kMaxChunks + 1, &shape.chunks_per_block));
    TUTTI_TRY(words.expect("scratch"));
    TUTTI_TRY(words.number("slots", kMaxChunks + 1, &shape.scratch_slots));
    if (num_chunks(Buffer::kInput) > kMaxChunks || num_chunks(Buffer::kOutput) > kMaxChunks) {
      return words.wrong("at most " + std::to_string(kMaxChunks) + " chunks a buffer");
    }
    return {};
  }

  uint64_t num_chunks(Buffer buffer) const {
    if (buffer == Buffer::kScratch) return s_.shape.scratch_slots;
    const uint32_t blocks =
        buffer == Buffer::kInput ? s_.shape.input_blocks : s_.shape.output_blocks;
    return uint64_t{blocks} * s_.shape.chunks_per_block;
  }

  Status lane(Words& words) {
    TUTTI_TRY(words.expect("lane"));
    uint32_t number = 0;
    if (s_.lanes.size() >= kMaxLanes) return words.wrong("no more lanes");
    TUTTI_TRY(words.number("a lane", s_.lanes.size() + 1, &number));
    if (number != s_.lanes.size()) {
      return words.wrong("lanes in order, number " + std::to_string(s_.lanes.size()),
                         std::to_string(number));
    }
    s_.lanes.emplace_back();
    return {};
  }

  Status step(Words& words) {
    if (s_.lanes.empty()) return words.wrong("'lane'");
    if (num_steps_ >= kMaxSteps) return words.wrong("at most 1 M steps");
    const std::string name(words.peek());
    const OpName* known = nullptr;
    for (const OpName& candidate : kOpNames) {
      if (name == candidate.name) known = &candidate;
    }
    if (known == nullptr) return words.wrong("a step or 'lane'");
    if (rows_ && known->op != Op::kSend && known->op != Op::kRows) {
      return words.wrong("'send' or rows");
    }
    if (!rows_ && known->op == Op::kRows) return words.wrong("a step of a collective");
    words.next();
    step_ = Step{};
    step_.op = known->op;
    step_.wait_lane = kNoLane;
    step_.first = static_cast<uint32_t>(s_.operands.size());
    sized_ = false;
    bare_in_ = bare_out_ = false;
    if (words.take("final")) step_.flags = kFinal;
    if (rows_) {
      if (s_.operands.size() >= kMaxOperands) return words.wrong("fewer operands");
      TUTTI_TRY(RowReader(&s_, &step_).read(words));
    } else {
      TUTTI_TRY(step_.op == Op::kOffer ? offer(words) : operands(words));
      TUTTI_TRY(data(words));
    }
    if (words.take("wait")) {
      uint32_t wait_lane = 0;
      TUTTI_TRY(words.number("a lane", kMaxLanes, &wait_lane));
      step_.wait_lane = static_cast<uint16_t>(wait_lane);
      TUTTI_TRY(words.expect(":"));
      TUTTI_TRY(words.number("a step", kMaxSteps, &step_.wait_step));
      waits_.push_back({words.number(), s_.lanes.size() - 1, wait_lane, step_.wait_step});
    }
    const std::string meant = name_of(s_, step_);
    if (meant != name) return words.wrong(meant + " for a step with these operands", name);
    s_.lanes.back().steps.push_back(step_);
    ++num_steps_;
    return {};
  }

  Status offer(Words& words) {
    Operand o{};
    TUTTI_TRY(peer(words, &o));
    TUTTI_TRY(words.expect("message"));
    TUTTI_TRY(words.number("a message", kMaxOperands, &step_.ordinal));
    TUTTI_TRY(words.expect("->"));
    TUTTI_TRY(place(words, &o.buffer, &o.chunk));
    step_.n_out = 1;
    s_.operands.push_back(o);
    return {};
  }

  Status operands(Words& words) {
    do {
      TUTTI_TRY(operand(words, false, &step_.n_in));
    } while (words.take("+"));
    TUTTI_TRY(words.expect("->"));
    do {
      TUTTI_TRY(operand(words, true, &step_.n_out));
    } while (words.take(","));
    if (!bare_in_ && !bare_out_) return {};
    // A bare peer stands for the place across the arrow.
    if (bare_in_ && bare_out_) return words.wrong("a place on one side of the arrow");
    Operand& in = s_.operands[step_.first];
    Operand& out = s_.operands[step_.first + step_.n_in];
    Operand& bare = bare_in_ ? in : out;
    const Operand& full = bare_in_ ? out : in;
    bare.buffer = full.buffer;
    bare.chunk = full.chunk;
    return {};
  }

  Status operand(Words& words, bool output, uint16_t* count) {
    if (s_.operands.size() >= kMaxOperands || *count == 0xffff) {
      return words.wrong("fewer operands");
    }
    Operand o{};
    o.peer = kLocal;
    bool bare = false;
    if (words.at_number()) {
      TUTTI_TRY(peer(words, &o));
      bare = !words.take(":");
    }
    if (bare) {
      const bool allowed = *count == 0 && step_.op == (output ? Op::kSend : Op::kRecv);
      if (!allowed) return words.wrong("':' and the place of the message");
      (output ? bare_out_ : bare_in_) = true;
    } else {
      TUTTI_TRY(place(words, &o.buffer, &o.chunk));
    }
    o.flags = output && o.peer == kLocal ? kKeep : 0;
    if (words.take("keep")) {
      o.flags |= kKeep;
    } else if (words.take("nokeep")) {
      o.flags = static_cast<uint8_t>(o.flags & ~kKeep);
    }
    if (words.take("reply")) o.flags |= kReply;
    s_.operands.push_back(o);
    ++*count;
    return {};
  }

  Status peer(Words& words, Operand* o) {
    uint32_t number = 0;
    TUTTI_TRY(words.number("a peer", static_cast<uint64_t>(s_.nranks), &number));
    if (number == static_cast<uint32_t>(s_.rank)) {
      return words.wrong("a peer", "the rank itself");
    }
    o->peer = static_cast<int32_t>(number);
    return {};
  }

  // All places of a step have the same length.
  Status place(Words& words, Buffer* buffer, uint32_t* first) {
    if (words.take("input")) {
      *buffer = Buffer::kInput;
    } else if (words.take("output")) {
      *buffer = Buffer::kOutput;
    } else if (words.take("scratch")) {
      *buffer = Buffer::kScratch;
    } else {
      return words.wrong("input, output or scratch");
    }
    const uint64_t chunks = num_chunks(*buffer);
    TUTTI_TRY(words.expect("["));
    TUTTI_TRY(words.number("a chunk", chunks + 1, first));
    uint32_t end = *first + 1;
    const bool run = words.take("..");
    if (run) TUTTI_TRY(words.number("a chunk", chunks + 1, &end));
    if (end > chunks || end < *first) return words.wrong("a run of chunks of this buffer");
    TUTTI_TRY(words.expect(run ? ")" : "]"));
    if (sized_ && end - *first != step_.data_nchunks) {
      return words.wrong("places of " + std::to_string(step_.data_nchunks) + " chunks");
    }
    sized_ = true;
    step_.data_nchunks = end - *first;
    return {};
  }

  Status data(Words& words) {
    if (words.take("as")) {
      TUTTI_TRY(place(words, &step_.data_buffer, &step_.data_chunk));
      if (step_.data_buffer == Buffer::kScratch) return words.wrong("data of input or output");
      return {};
    }
    for (size_t k = step_.first; k < s_.operands.size(); ++k) {
      const Operand& o = s_.operands[k];
      if (o.buffer == Buffer::kScratch) continue;
      step_.data_buffer = o.buffer;
      step_.data_chunk = o.chunk;
      return {};
    }
    return words.wrong("'as' and the data that scratch holds");
  }

  // Waits may name lanes further down, so they are checked last.
  Status check_waits() const {
    for (const Wait& w : waits_) {
      if (w.lane < s_.lanes.size() && w.lane != w.from && w.step < s_.lanes[w.lane].steps.size()) {
        continue;
      }
      return error(Code::kInvalidArgument,
                   "schedule text line %d: expected a wait for a step of another lane, got %u:%u",
                   w.line, w.lane, w.step);
    }
    return {};
  }

  struct Wait {
    int line;
    size_t from;
    uint32_t lane, step;
  };
  Schedule s_;
  Step step_{};
  bool rows_ = false;   // a schedule with rows
  bool sized_ = false;  // a place has told step_.data_nchunks
  bool bare_in_ = false, bare_out_ = false;
  uint32_t num_steps_ = 0;
  std::vector<Wait> waits_;
};

}  // namespace

Result<Schedule> parse_schedule(std::string_view text, int first_line) {
  return Parser().parse(text, first_line);
}

}  // namespace tutti
