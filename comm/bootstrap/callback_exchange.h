// CallbackExchange: an exchange over an all-gather of equal pieces that somebody else provides: the
// caller of tuttiCommInitExchange, or MPI. Its waits are that function's own: no deadline can be
// put on them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/bootstrap/exchange.h"

namespace tutti {

class CallbackExchange final : public Exchange {
 public:
  // all[r * bytes ...] = rank r's mine[0..bytes); blocks.
  using AllGather = std::function<Status(const void* mine, void* all, size_t bytes)>;
  CallbackExchange(int rank, int nranks, AllGather all_gather)
      : rank_(rank), nranks_(nranks), all_gather_(std::move(all_gather)) {}

  int rank() const override { return rank_; }
  int nranks() const override { return nranks_; }
  // kMismatch when what came back for this rank is not what it gave: the ranks are numbered
  // otherwise, or the function does something else.
  Result<std::vector<std::string>> all_gather(std::string_view mine,
                                              const Patience& patience) override;

 private:
  const int rank_;
  const int nranks_;
  const AllGather all_gather_;
};

}  // namespace tutti
