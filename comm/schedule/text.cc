#include "comm/schedule/text.h"

#include "comm/schedule/catalog.h"
#include "comm/schedule/text_rows.h"

namespace tutti {

const char* name_of(Buffer buffer) {
  switch (buffer) {
    case Buffer::kInput:
      return "input";
    case Buffer::kOutput:
      return "output";
    case Buffer::kScratch:
      return "scratch";
    case Buffer::kInputSide:
      return "input_side";
    case Buffer::kOutputSide:
      return "output_side";
    case Buffer::kScratchSide:
      return "scratch_side";
    case Buffer::kInputValue:
      return "input_value";
    case Buffer::kOutputValue:
      return "output_value";
    case Buffer::kScratchValue:
      return "scratch_value";
    case Buffer::kBias0:
      return "bias0";
    case Buffer::kBias1:
      return "bias1";
  }
  return "no buffer";
}

namespace {

std::string place_text(Buffer buffer, uint32_t chunk, uint32_t nchunks) {
  std::string out = name_of(buffer);
  out += "[" + std::to_string(chunk);
  if (nchunks != 1) out += ".." + std::to_string(uint64_t{chunk} + nchunks) + ")";
  return nchunks == 1 ? out + "]" : out;
}

bool same_place(const Operand& a, const Operand& b) {
  return a.buffer == b.buffer && a.chunk == b.chunk;
}

std::string operand_text(const Operand& o, const Step& step, bool output, bool bare) {
  std::string out;
  if (o.peer != kLocal) out = std::to_string(o.peer);
  if (!bare) {
    if (!out.empty()) out += ":";
    out += place_text(o.buffer, o.chunk, step.data_nchunks);
  }
  const bool keeps = (o.flags & kKeep) != 0;
  const bool usual = output && o.peer == kLocal;
  if (keeps != usual) out += keeps ? " keep" : " nokeep";
  if ((o.flags & kReply) != 0) out += " reply";
  return out;
}

// The one operand of a plain send or recv that says no more than the peer.
bool is_bare(const Schedule& s, const Step& step, bool output) {
  const auto in = s.inputs(step);
  const auto out = s.outputs(step);
  if (in.empty() || out.empty() || !same_place(in[0], out[0])) return false;
  if (step.op == Op::kRecv) return !output && in.size() == 1 && in[0].peer != kLocal;
  return step.op == Op::kSend && output && out.size() == 1 && out[0].peer != kLocal;
}

// Whether the first place that is not scratch names the data: then "as" is not needed.
bool names_data(const Schedule& s, const Step& step) {
  for (size_t k = 0; k < size_t{step.n_in} + step.n_out; ++k) {
    const Operand& o = s.operands[step.first + k];
    if (o.buffer == Buffer::kScratch) continue;
    return o.buffer == step.data_buffer && o.chunk == step.data_chunk;
  }
  return false;
}

std::string operands_text(const Schedule& s, const Step& step) {
  std::string out;
  const auto in = s.inputs(step);
  for (size_t i = 0; i < in.size(); ++i) {
    out += (i == 0 ? "" : " + ") + operand_text(in[i], step, false, is_bare(s, step, false));
  }
  out += " ->";
  const auto to = s.outputs(step);
  for (size_t i = 0; i < to.size(); ++i) {
    out += (i == 0 ? " " : ", ") + operand_text(to[i], step, true, is_bare(s, step, true));
  }
  return out;
}

std::string offer_text(const Schedule& s, const Step& step) {
  const auto out = s.outputs(step);
  if (step.n_in != 0 || out.size() != 1) return operands_text(s, step);
  return std::to_string(out[0].peer) + " message " + std::to_string(step.ordinal) + " -> " +
         place_text(out[0].buffer, out[0].chunk, step.data_nchunks);
}

}  // namespace

std::string name_of(const Schedule& s, const Step& step) {
  bool receives = false, sends = false, keeps = false;
  for (const Operand& o : s.inputs(step)) receives = receives || o.peer != kLocal;
  for (const Operand& o : s.outputs(step)) {
    sends = sends || o.peer != kLocal;
    keeps = keeps || (o.flags & kKeep) != 0;
  }
  const std::string from = receives ? "recv_" : "";
  switch (step.op) {
    case Op::kSend:
      return "send";
    case Op::kRecv:
      return "recv";
    case Op::kCopy:
      return from + "copy" + (sends ? "_send" : "");
    case Op::kReduce:
      return from + "reduce" + (sends && keeps ? "_copy" : "") + (sends ? "_send" : "");
    case Op::kOffer:
      return "offer";
    case Op::kRows:
      return from + "rows" + (sends ? "_send" : "");
  }
  return "?";
}

std::string print_step(const Schedule& s, const Step& step) {
  if (step.first > s.operands.size() ||
      size_t{step.n_in} + step.n_out > s.operands.size() - step.first) {
    return "a step whose operands are out of range";
  }
  std::string out = name_of(s, step);
  const size_t column = 22;
  out += std::string(out.size() < column ? column - out.size() : 0, ' ') + " ";
  if ((step.flags & kFinal) != 0) out += "final ";
  if (has_rows(s, step)) {
    out += rows_text(s, step);
  } else {
    out += step.op == Op::kOffer ? offer_text(s, step) : operands_text(s, step);
    if (!names_data(s, step)) {
      out += " as " + place_text(step.data_buffer, step.data_chunk, step.data_nchunks);
    }
  }
  if (step.wait_lane != kNoLane) {
    out += " wait " + std::to_string(step.wait_lane) + ":" + std::to_string(step.wait_step);
  }
  return out;
}

namespace {

std::string header_text(const Schedule& s) {
  const std::string ranks =
      " nranks " + std::to_string(s.nranks) + " rank " + std::to_string(s.rank);
  if (!s.rows.empty()) return "schedule rows" + ranks + "\n";
  std::string out = std::string("schedule ") + name_of(s.collective) + ranks + " root " +
                    std::to_string(s.root) + " in_place " + (s.in_place ? "1" : "0") + "\n";
  return out + "shape input_blocks " + std::to_string(s.shape.input_blocks) + " output_blocks " +
         std::to_string(s.shape.output_blocks) + " chunks_per_block " +
         std::to_string(s.shape.chunks_per_block) + " scratch " +
         std::to_string(s.shape.scratch_slots) + "\n";
}

}  // namespace

std::string print(const Schedule& s) {
  std::string out = header_text(s);
  for (size_t l = 0; l < s.lanes.size(); ++l) {
    out += "lane " + std::to_string(l) + "\n";
    for (const Step& step : s.lanes[l].steps) out += "  " + print_step(s, step) + "\n";
  }
  return out;
}

}  // namespace tutti
