// Exchange: how the ranks of a job that have nothing in common yet tell each other a few bytes.
//
// Used while a communicator is made and not after. Rounds happen in the same order on all ranks.
// Not thread-safe; the object is one rank's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/base/status.h"
#include "comm/net/patience.h"

namespace tutti {

// More ranks than this are taken for a mistake.
inline constexpr int kMaxRanks = 1 << 20;

class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual int rank() const = 0;
  virtual int nranks() const = 0;
  // Every rank gives its bytes, of any length, and gets everybody's in the order of ranks. kTimeout
  // names the ranks that have not come; other codes say what else went wrong. After a failure the
  // exchange is of no further use.
  virtual Result<std::vector<std::string>> all_gather(std::string_view mine,
                                                      const Patience& patience) = 0;
};

// "ranks 2, 5, 6" or "rank 2"; at most ten are named, then "and 3 more".
std::string name_ranks(const std::vector<int>& ranks);

}  // namespace tutti
