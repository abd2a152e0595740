// JobId: what tuttiGetUniqueId hands out: where the ranks of a job meet, and the secret that lets
// them in. A value; whoever has its bytes can join the job.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/base/status.h"
#include "comm/net/address.h"
#include "comm/net/secret.h"

namespace tutti {

struct JobId {
  static constexpr size_t kBytes = 128;
  static constexpr size_t kMaxCandidates = 4;

  Secret secret = {};
  std::vector<SocketAddress> candidates;  // of the rendezvous, 1..kMaxCandidates, best first

  // kBytes bytes: "TUTTIID" and format 1, a checksum, secret, candidates, zeros.
  std::string encode() const;
  // kInvalidArgument for bytes that encode() has not made.
  static Result<JobId> decode(std::string_view bytes);
};

}  // namespace tutti
