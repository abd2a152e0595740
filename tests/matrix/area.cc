#include "tests/matrix/area.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tutti/tutti.h"

#include "comm/base/check.h"

namespace tutti {

namespace {

constexpr uint8_t kPoison = 0xC3;

std::string hex(const uint8_t* element, size_t bytes) {
  std::string text = "0x";
  for (size_t i = bytes; i-- > 0;) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", element[i]);
    text += digits;
  }
  return text;
}

// Position of the first byte that is not poison, or `bytes`.
size_t first_touched(const uint8_t* data, size_t bytes) {
  const auto touched = std::find_if(data, data + bytes, [](uint8_t b) { return b != kPoison; });
  return static_cast<size_t>(touched - data);
}

std::string describe_piece(const Content& piece, const uint8_t* got, size_t element_bytes) {
  size_t at = 0;
  while (got[at] == piece.expected[at]) ++at;
  const size_t element = at / element_bytes;
  const size_t start = element * element_bytes;
  size_t wrong = 0;
  for (size_t i = start; i < piece.bytes; i += element_bytes) {
    wrong += std::memcmp(got + i, piece.expected + i, element_bytes) != 0 ? 1 : 0;
  }
  const std::string where =
      piece.block < 0 ? "input changed" : "block " + std::to_string(piece.block);
  return where + ", element " + std::to_string(element) + " of " +
         std::to_string(piece.bytes / element_bytes) + ": expected " +
         hex(piece.expected + start, element_bytes) + ", got " + hex(got + start, element_bytes) +
         " (" + std::to_string(wrong) + " elements differ)";
}

}  // namespace

Area::~Area() {
  std::free(plain_.memory);
  (void)tuttiMemFree(shared_.memory);
}

Area::Store* Area::store_for(size_t bytes, bool shared) {
  Store& store = shared ? shared_ : plain_;
  if (store.bytes >= bytes) return &store;
  if (shared) {
    (void)tuttiMemFree(store.memory);
    TUTTI_CHECK(tuttiMemAlloc(&store.memory, bytes) == tuttiSuccess, "out of memory");
  } else {
    std::free(store.memory);
    store.memory = std::malloc(bytes);
    TUTTI_CHECK(store.memory != nullptr, "out of memory");
  }
  store.bytes = bytes;
  return &store;
}

void Area::reset(size_t bytes, Memory kind, size_t element_bytes) {
  const size_t shift = kind == Memory::kMisaligned ? element_bytes + 1 : 0;
  base_ = store_for(bytes + shift + 2 * kGuardBytes, kind == Memory::kRegistered)->memory;
  data_ = static_cast<uint8_t*>(base_) + kGuardBytes + shift;
  bytes_ = bytes;
  std::memset(base_, kPoison, base_bytes());
}

std::string Area::difference(const std::vector<Content>& pieces, size_t element_bytes) const {
  const auto* base = static_cast<const uint8_t*>(base_);
  const auto front = static_cast<size_t>(data_ - base);
  std::vector<Content> sorted = pieces;
  std::sort(sorted.begin(), sorted.end(),
            [](const Content& a, const Content& b) { return a.offset < b.offset; });
  size_t done = 0;  // from base
  for (const Content& piece : sorted) {
    if (piece.bytes == 0) continue;
    const size_t start = front + piece.offset;
    const size_t touched = done + first_touched(base + done, start - done);
    if (touched < start) {
      return "byte " + std::to_string(static_cast<int64_t>(touched) - static_cast<int64_t>(front)) +
             " of the buffer, before block " + std::to_string(piece.block) +
             ", was written: " + hex(base + touched, 1);
    }
    if (std::memcmp(base + start, piece.expected, piece.bytes) != 0) {
      return describe_piece(piece, base + start, element_bytes);
    }
    done = start + piece.bytes;
  }
  const size_t end = front + bytes_ + kGuardBytes;
  const size_t touched = done + first_touched(base + done, end - done);
  if (touched == end) return "";
  return "byte " + std::to_string(touched - front) + " of the buffer of " + std::to_string(bytes_) +
         ", after the last block, was written: " + hex(base + touched, 1);
}

}  // namespace tutti
