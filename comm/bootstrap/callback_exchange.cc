#include "comm/bootstrap/callback_exchange.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "comm/net/frame.h"

namespace tutti {

// Two rounds of the caller's function: the lengths, then everything padded to the longest.
Result<std::vector<std::string>> CallbackExchange::all_gather(std::string_view mine,
                                                              const Patience&) {
  const auto n = static_cast<size_t>(nranks_);
  const auto me = static_cast<size_t>(rank_);
  const uint64_t length = mine.size();
  std::vector<uint64_t> lengths(n);
  TUTTI_TRY(all_gather_(&length, lengths.data(), sizeof length));
  const uint64_t longest = *std::max_element(lengths.begin(), lengths.end());
  if (lengths[me] != length || longest > kMaxFrameBytes) {
    return error(Code::kMismatch,
                 "rank %d of %d: the all-gather given returned %llu for this rank, expected %llu: "
                 "does it number the ranks otherwise?",
                 rank_, nranks_, static_cast<unsigned long long>(lengths[me]),
                 static_cast<unsigned long long>(length));
  }
  std::string padded(mine);
  padded.resize(longest, '\0');
  std::string all(longest * n, '\0');
  if (longest > 0) TUTTI_TRY(all_gather_(padded.data(), all.data(), longest));
  if (all.compare(me * longest, longest, padded) != 0) {
    return error(Code::kMismatch, "rank %d of %d: the all-gather given changed this rank's bytes",
                 rank_, nranks_);
  }
  std::vector<std::string> pieces;
  for (size_t r = 0; r < n; ++r) pieces.push_back(all.substr(r * longest, lengths[r]));
  return pieces;
}

}  // namespace tutti
