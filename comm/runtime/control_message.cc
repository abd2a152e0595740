#include "comm/runtime/control_message.h"

#include "comm/base/bytes.h"
#include "comm/runtime/board.h"

namespace tutti {
namespace {

// Whether describe() can put it into words.
bool makes_sense(const CallRecord& c) {
  return (c.what & 0xff) < static_cast<uint32_t>(kNumCollectives) &&
         (c.what >> 8 & 0xff) < static_cast<uint32_t>(kNumDataTypes) &&
         (c.what >> 16 & 0xff) < static_cast<uint32_t>(kNumReduceOps) &&
         c.algorithm < catalog().size();
}

}  // namespace

void ControlMessage::set_failure(const Failure& failure) {
  rank = failure.rank;
  code = failure.code;
  text = failure.text;
}

std::string ControlMessage::encode() const {
  BytesWriter out;
  out.number(comm).number(question).number(static_cast<uint8_t>(presence));
  out.number(static_cast<uint32_t>(rank)).number(static_cast<uint32_t>(code)).text(text);
  out.number(static_cast<uint32_t>(calls.size()));
  for (const CallRecord& c : calls) {
    out.number(c.sequence).number(c.fingerprint).number(c.count).number(c.what);
    out.number(static_cast<uint32_t>(c.root)).number(c.algorithm);
  }
  return out.take();
}

Result<ControlMessage> decode_control(uint16_t type, std::string_view payload) {
  BytesReader in(payload);
  ControlMessage m;
  m.type = static_cast<ControlMessage::Type>(type);
  m.comm = in.number<uint64_t>();
  m.question = in.number<uint64_t>();
  const auto presence = in.number<uint8_t>();
  m.presence = static_cast<ControlMessage::Presence>(presence);
  m.rank = static_cast<int>(in.number<uint32_t>());
  const auto code = in.number<uint32_t>();
  m.code = static_cast<Code>(code);
  m.text = in.text();
  const auto calls = in.number<uint32_t>();
  bool known = calls <= Board::kRemembered;
  for (uint32_t i = 0; i < calls && known && in.ok(); ++i) {
    CallRecord c;
    c.sequence = in.number<uint64_t>();
    c.fingerprint = in.number<uint64_t>();
    c.count = in.number<uint64_t>();
    c.what = in.number<uint32_t>();
    c.root = static_cast<int32_t>(in.number<uint32_t>());
    c.algorithm = in.number<uint64_t>();
    known = makes_sense(c);
    m.calls.push_back(c);
  }
  known = known && type >= ControlMessage::kAsk && type <= ControlMessage::kFailure &&
          presence <= 2 && code < static_cast<uint32_t>(kNumCodes) && m.rank >= 0;
  if (known && in.at_end()) return m;
  return error(Code::kInvalidArgument, "no control message: type %u, %zu bytes", type,
               payload.size());
}

std::string ControlHello::encode() const {
  return BytesWriter()
      .text("control")
      .number(world)
      .number(static_cast<uint32_t>(from))
      .number(static_cast<uint32_t>(to))
      .take();
}

Result<ControlHello> ControlHello::decode(std::string_view bytes) {
  BytesReader in(bytes);
  const bool control = in.text() == "control";
  ControlHello hello;
  hello.world = in.number<uint64_t>();
  hello.from = static_cast<int>(in.number<uint32_t>());
  hello.to = static_cast<int>(in.number<uint32_t>());
  if (control && in.at_end()) return hello;
  return error(Code::kInvalidArgument, "no greeting of a control link");
}

}  // namespace tutti
