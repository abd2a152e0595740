// Agreement: what every rank tells every other while a job comes about, and the check that all of
// them can work together. Values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/cores.h"
#include "comm/base/status.h"
#include "comm/base/wait.h"

namespace tutti {

// Changes whenever anything that ranks send each other changes.
inline constexpr uint32_t kWireVersion = 2;

struct RankCard {
  uint32_t wire_version = kWireVersion;
  std::string settings;    // agreement_text() of its config
  std::string host;        // name of its host, for texts
  std::string boot;        // of the kernel it runs on: tells hosts apart
  std::string network;     // its network name space there
  std::string host_id;     // the setting of that name
  std::string process;     // random, one per process
  std::string control;     // where its control plane listens
  std::string transports;  // it can use, by preference, separated by spaces
  Cores cores;             // it may run on

  std::string encode() const;
  // What an older or newer build has sent decodes as far as its version, which is always first.
  static RankCard decode(std::string_view bytes);
};

// kVersionMismatch or kMismatch naming the first rank that differs from rank 0, and in what: both
// values are in the text.
Status check_agreement(const std::vector<RankCard>& cards);

// The transports that every rank can use, by rank 0's preference. kUnsupported when there is none:
// the text lists who has what.
Result<std::vector<std::string>> common_transports(const std::vector<RankCard>& cards);

// Ok when all ranks may share memory, as far as they say: one kernel, one network name space, one
// host_id. Else kUnsupported naming the first rank that differs from rank 0, and in what.
Status check_one_host(const std::vector<RankCard>& cards);

// Of the host that `rank` runs on.
HostShare host_share(const std::vector<RankCard>& cards, int rank);

// Whether any host has more ranks than cores for them: from the same cards, the same on all ranks.
bool any_host_crowded(const std::vector<RankCard>& cards);

}  // namespace tutti
