#include "comm/net/frame.h"

#include <utility>

#include "comm/base/bytes.h"
#include "comm/base/check.h"

namespace tutti {
namespace {

// A larger buffer is given back when it has been read to the end.
constexpr size_t kKeptBytes = size_t{1} << 20;

}  // namespace

void append_frame(uint16_t type, std::string_view payload, std::string* out) {
  TUTTI_CHECK(payload.size() <= kMaxFrameBytes, "a frame that no reader takes");
  out->append(BytesWriter()
                  .number(static_cast<uint32_t>(payload.size()))
                  .number(type)
                  .number(uint16_t{0})
                  .bytes());
  out->append(payload);
}

void FrameReader::feed(std::string_view bytes) {
  if (broken_) return;
  if (start_ == pending_.size()) {
    start_ = 0;
    if (pending_.capacity() > kKeptBytes) {
      pending_ = std::string();
    } else {
      pending_.clear();
    }
  } else if (start_ > pending_.size() / 2) {
    // Only when less is moved than was yielded: each byte is moved about once in all.
    pending_.erase(0, start_);
    start_ = 0;
  }
  pending_.append(bytes);
}

Result<std::optional<Frame>> FrameReader::next() {
  const std::string_view rest = std::string_view(pending_).substr(start_);
  if (!broken_ && rest.size() >= kFrameHeaderBytes) {
    BytesReader header(rest.substr(0, kFrameHeaderBytes));
    const size_t bytes = header.number<uint32_t>();
    Frame frame = {header.number<uint16_t>(), {}};
    const uint16_t reserved = header.number<uint16_t>();
    broken_ = bytes > max_payload_ || reserved != 0;
    if (!broken_ && rest.size() - kFrameHeaderBytes >= bytes) {
      frame.payload = rest.substr(kFrameHeaderBytes, bytes);
      start_ += kFrameHeaderBytes + bytes;
      return std::optional<Frame>(std::move(frame));
    }
  }
  if (!broken_) return std::optional<Frame>();
  return error(Code::kInvalidArgument, "bytes that are no frame of at most %zu bytes",
               max_payload_);
}

}  // namespace tutti
