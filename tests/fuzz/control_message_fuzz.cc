// Fuzz target: what control planes send each other. Input: two bytes of frame type, then the
// payload. What decodes encodes to the same bytes, can be put into words and written on a board,
// and is found there; the same bytes as the greeting of a link decode or do not.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "comm/base/check.h"
#include "comm/runtime/board.h"
#include "comm/runtime/control_message.h"

namespace {

using tutti::Board;
using tutti::CallRecord;
using tutti::Code;
using tutti::ControlHello;
using tutti::ControlMessage;

void check_calls(const ControlMessage& message) {
  Board board(1);
  for (const CallRecord& call : message.calls) {
    TUTTI_CHECK(!tutti::describe(call).empty(), "a call has words");
    board.record(0, call);
    const auto noted = board.call_of(0, call.sequence);
    TUTTI_CHECK(noted && noted->fingerprint == call.fingerprint && noted->root == call.root &&
                    noted->what == call.what && noted->count == call.count,
                "what was noted is found");
  }
}

void check_message(const ControlMessage& message, uint16_t type, std::string_view payload) {
  TUTTI_CHECK(
      message.type == type && type >= ControlMessage::kAsk && type <= ControlMessage::kFailure,
      "a type there is");
  TUTTI_CHECK(message.presence <= ControlMessage::Presence::kLeft, "a presence there is");
  TUTTI_CHECK(message.rank >= 0, "a rank");
  TUTTI_CHECK(static_cast<int>(message.code) < tutti::kNumCodes, "a code there is");
  TUTTI_CHECK(message.calls.size() <= Board::kRemembered, "no more calls than are remembered");
  TUTTI_CHECK(message.encode() == payload, "it encodes to what arrived");
  check_calls(message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto type = static_cast<uint16_t>(data[0] | data[1] << 8);
  const std::string_view payload(reinterpret_cast<const char*>(data + 2), size - 2);
  const tutti::Result<ControlMessage> message = tutti::decode_control(type, payload);
  if (message.ok()) {
    check_message(message.value(), type, payload);
  } else {
    TUTTI_CHECK(message.status().code() == Code::kInvalidArgument, "its only failure");
    TUTTI_CHECK(!message.status().text().empty(), "a failure says why");
  }
  const tutti::Result<ControlHello> hello = ControlHello::decode(payload);
  if (hello.ok()) TUTTI_CHECK(hello.value().encode() == payload, "it encodes to what arrived");
  return 0;
}
