// FileExchange: an exchange through a folder that all ranks see: each rank writes one file a round,
// and reads the others'. For launchers that know no free port.
//
// Every file is sealed with the job secret (HMAC-SHA256 over its name and bytes), so that a
// stranger who can write into the folder cannot speak for a rank. A folder serves one job: files of
// an earlier one are an error, not a wrong answer. The files stay until the folder goes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/bootstrap/exchange.h"
#include "comm/net/secret.h"

namespace tutti {

class FileExchange final : public Exchange {
 public:
  FileExchange(std::string folder, int rank, int nranks, const Secret& secret)
      : folder_(std::move(folder)), rank_(rank), nranks_(nranks), secret_(secret) {}

  int rank() const override { return rank_; }
  int nranks() const override { return nranks_; }
  // kSystemError names the file, kAuthFailed a file with a broken seal, kInvalidUsage a folder that
  // was used before.
  Result<std::vector<std::string>> all_gather(std::string_view mine,
                                              const Patience& patience) override;

 private:
  std::string name_of(int rank) const;
  Status publish(std::string_view mine);
  Result<std::string> open_sealed(int rank, std::string whole) const;

  const std::string folder_;
  const int rank_;
  const int nranks_;
  const Secret secret_;
  int round_ = 0;
};

}  // namespace tutti
