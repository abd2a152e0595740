// Frames: how bytes on an authenticated connection are cut into messages.
//
// A frame is 4 bytes length of the payload (little endian), 2 bytes type, 2 bytes zero, payload.
// FrameReader is fed what arrived, in pieces of any size, and yields whole frames; a length above
// its limit or a non-zero reserved field ends the stream for good. No I/O here. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "comm/base/status.h"

namespace tutti {

inline constexpr size_t kFrameHeaderBytes = 8;
inline constexpr size_t kMaxFrameBytes = size_t{64} << 20;

struct Frame {
  uint16_t type = 0;
  std::string payload;
};

// Appends one frame to `out`.
void append_frame(uint16_t type, std::string_view payload, std::string* out);

class FrameReader {
 public:
  explicit FrameReader(size_t max_payload = kMaxFrameBytes) : max_payload_(max_payload) {}
  void feed(std::string_view bytes);
  // The next whole frame; nothing when more bytes are needed; kInvalidArgument for bytes that are
  // no frame, from then on every time. Memory grows with what has arrived, not with what a header
  // claims.
  Result<std::optional<Frame>> next();

 private:
  size_t max_payload_;
  std::string pending_;
  size_t start_ = 0;  // of what has not been yielded yet
  bool broken_ = false;
};

}  // namespace tutti
