#include "comm/tools/rank_list.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace tutti {

namespace {

constexpr int kMostRanks = 65536;

bool parse_number(std::string_view text, int* out) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return problem == std::errc() && end == text.data() + text.size() && *out >= 1 &&
         *out <= kMostRanks;
}

}  // namespace

Result<std::vector<int>> parse_rank_list(std::string_view text) {
  std::vector<int> ranks;
  for (;;) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t dots = item.find("..");
    const bool range = dots != std::string_view::npos;
    int first = 0, last = 0;
    if (!parse_number(item.substr(0, dots), &first) ||
        !parse_number(range ? item.substr(dots + 2) : item, &last) || last < first) {
      return error(Code::kInvalidArgument,
                   "expected numbers from 1 to %d and ranges, such as 1..64,127, got '%s'",
                   kMostRanks, std::string(item.substr(0, 60)).c_str());
    }
    for (int n = first; n <= last; ++n) ranks.push_back(n);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

}  // namespace tutti
