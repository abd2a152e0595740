// TcpExchange: one rank's end of a Rendezvous.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/bootstrap/exchange.h"
#include "comm/net/connection.h"

namespace tutti {

class TcpExchange final : public Exchange {
 public:
  // Connects to the first of `candidates` that answers and knows the secret. kAuthFailed when one
  // answered that does not, and none that does; kTimeout or kRemoteError name what was tried.
  static Result<std::unique_ptr<TcpExchange>> join(const std::vector<SocketAddress>& candidates,
                                                   const Secret& secret, int rank, int nranks,
                                                   const Patience& patience);

  int rank() const override { return rank_; }
  int nranks() const override { return nranks_; }
  // Errors of the Rendezvous (another rank's mistake, a rank that left) come with its code.
  Result<std::vector<std::string>> all_gather(std::string_view mine,
                                              const Patience& patience) override;
  const SocketAddress& rendezvous() const { return connection_.peer(); }

 private:
  TcpExchange(Connection connection, int rank, int nranks)
      : connection_(std::move(connection)), rank_(rank), nranks_(nranks) {}
  Status who_is_missing();

  Connection connection_;
  const int rank_;
  const int nranks_;
  uint32_t round_ = 0;
};

}  // namespace tutti
