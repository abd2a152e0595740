#include "comm/base/cache.h"

#include <algorithm>
#include <fstream>
#include <unistd.h>

namespace tutti {

namespace {

// "32768K" or "1M" as bytes; 0 when it is neither.
size_t parse_size(const std::string& text) {
  size_t value = 0;
  size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9' && value < (size_t{1} << 40); ++i) {
    value = value * 10 + static_cast<size_t>(text[i] - '0');
  }
  if (i < text.size() && text[i] == 'K') return value << 10;
  if (i < text.size() && text[i] == 'M') return value << 20;
  return value;
}

}  // namespace

size_t last_cache_bytes(const std::string& root) {
  constexpr int kMostLevels = 8;
  size_t largest = 0;
  for (int index = 0; index < kMostLevels; ++index) {
    std::ifstream file(root + "/index" + std::to_string(index) + "/size");
    std::string text;
    if (file >> text) largest = std::max(largest, parse_size(text));
  }
  if (largest == 0) {
    const long socket = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (socket > 0) largest = static_cast<size_t>(socket);
  }
  return std::max(largest, size_t{1} << 20);
}

}  // namespace tutti
