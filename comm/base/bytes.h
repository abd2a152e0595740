// BytesWriter and BytesReader: the little-endian encoding of everything that Tutti sends between
// processes outside the data path. Value types; not thread-safe.
//
// A reader that runs out of bytes answers zeros and empty texts from then on, and says so in ok():
// callers read a whole record, then ask once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace tutti {

class BytesWriter {
 public:
  template <typename Integer>
  BytesWriter& number(Integer value) {
    for (size_t i = 0; i < sizeof value; ++i) {
      bytes_ += static_cast<char>(static_cast<uint64_t>(value) >> (8 * i) & 0xff);
    }
    return *this;
  }
  BytesWriter& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  // Its length, then itself.
  BytesWriter& text(std::string_view text) {
    return number(static_cast<uint32_t>(text.size())).raw(text);
  }
  std::string take() { return std::move(bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class BytesReader {
 public:
  explicit BytesReader(std::string_view bytes) : left_(bytes) {}
  template <typename Integer>
  Integer number() {
    const std::string_view bytes = raw(sizeof(Integer));
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    }
    return static_cast<Integer>(value);
  }
  std::string_view raw(size_t bytes) {
    if (bytes > left_.size()) {
      ok_ = false;
      left_ = {};
      return {};
    }
    const std::string_view taken = left_.substr(0, bytes);
    left_.remove_prefix(bytes);
    return taken;
  }
  std::string_view text() { return raw(number<uint32_t>()); }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && left_.empty(); }

 private:
  std::string_view left_;
  bool ok_ = true;
};

}  // namespace tutti
