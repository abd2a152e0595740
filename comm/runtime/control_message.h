// What control planes say to each other about a communicator, as frames of comm/net/frame.h.
// Values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/status.h"
#include "comm/runtime/call.h"

namespace tutti {

struct Failure;

struct ControlMessage {
  enum Type : uint16_t {
    kAsk = 1,  // tell me of your side, now and when it ends
    kState,    // the answer: status, calls
    kPresent,  // my side is there
    kLeft,     // my side has ended, in good order or with a failure: rank, code, text
    kFailure,  // my side has failed: rank, code, text
  };
  enum class Presence : uint8_t { kNotYet, kThere, kLeft };

  Type type = kAsk;
  uint64_t comm = 0;
  uint64_t question = 0;  // kAsk and its kState
  Presence presence = Presence::kNotYet;
  int rank = 0;  // in the communicator, of the one that failed first
  Code code = Code::kOk;
  std::string text;
  std::vector<CallRecord> calls;

  void set_failure(const Failure& failure);
  std::string encode() const;  // the payload
};

// kInvalidArgument for what encode() has not made.
Result<ControlMessage> decode_control(uint16_t type, std::string_view payload);

// The hello of a control link.
struct ControlHello {
  uint64_t world = 0;
  int from = 0;  // ranks in the world
  int to = 0;

  std::string encode() const;
  static Result<ControlHello> decode(std::string_view bytes);
};

}  // namespace tutti
