#include "comm/bootstrap/exchange.h"

namespace tutti {

std::string name_ranks(const std::vector<int>& ranks) {
  constexpr size_t kMost = 10;
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size() && i < kMost; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(ranks[i]);
  }
  if (ranks.size() > kMost) text += " and " + std::to_string(ranks.size() - kMost) + " more";
  return text;
}

}  // namespace tutti
