// Fuzz target: the reader of frames. Input: one byte that says how the rest is cut into pieces,
// then what arrives. However it is cut, the same frames come out, they encode to the same bytes,
// and a stream that is broken stays so.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "comm/base/check.h"
#include "comm/net/frame.h"

namespace {

constexpr size_t kMaxPayload = 300;  // small enough for the input to reach beyond it

struct Outcome {
  std::string encoded;  // of all frames
  bool broken = false;
};

void drain(tutti::FrameReader* reader, Outcome* outcome) {
  while (true) {
    const tutti::Result<std::optional<tutti::Frame>> frame = reader->next();
    if (!frame.ok()) {
      TUTTI_CHECK(frame.status().code() == tutti::Code::kInvalidArgument, "its only failure");
      outcome->broken = true;
      return;
    }
    TUTTI_CHECK(!outcome->broken, "a broken stream stays broken");
    if (!frame.value()) return;
    TUTTI_CHECK(frame.value()->payload.size() <= kMaxPayload, "the limit holds");
    tutti::append_frame(frame.value()->type, frame.value()->payload, &outcome->encoded);
  }
}

// Pieces of 1, 1 + step, 1 + 2 step, ... bytes, starting again after a while; step 0: single bytes.
Outcome read_in_pieces(std::string_view bytes, size_t step) {
  tutti::FrameReader reader(kMaxPayload);
  Outcome outcome;
  size_t piece = 1;
  while (!bytes.empty()) {
    const std::string_view now = bytes.substr(0, piece);
    bytes.remove_prefix(now.size());
    reader.feed(now);
    drain(&reader, &outcome);
    piece = (piece + step) % 500 + 1;
    if (step == 0) piece = 1;
  }
  drain(&reader, &outcome);
  return outcome;
}

Outcome read_at_once(std::string_view bytes) {
  tutti::FrameReader reader(kMaxPayload);
  Outcome outcome;
  reader.feed(bytes);
  drain(&reader, &outcome);
  drain(&reader, &outcome);
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const Outcome once = read_at_once(bytes);
  const Outcome pieces = read_in_pieces(bytes, data[0]);
  TUTTI_CHECK(once.encoded == pieces.encoded, "the cut does not matter");
  TUTTI_CHECK(once.broken == pieces.broken, "nor for what is broken");
  TUTTI_CHECK(bytes.substr(0, once.encoded.size()) == once.encoded, "the bytes that arrived");
  return 0;
}
