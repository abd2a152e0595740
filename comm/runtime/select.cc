#include "comm/runtime/select.h"

#include <algorithm>
#include <string>
#include <vector>

namespace tutti {

namespace {

constexpr size_t kChainPieceBytes = 128 * 1024;
constexpr int kMostPieces = 64;

int chain_pieces(size_t bytes) {
  return static_cast<int>(std::clamp<size_t>(bytes / kChainPieceBytes, 1, kMostPieces));
}

// Memory that peers cannot map is copied on its way. In rounds the copies stay in the cache, and
// one side reads them while the other makes the next. Where nothing is copied, a fold of several
// streams pays for being cut more often than a copy does (decision 0008).
constexpr size_t kMovedRoundBytes = 512 * 1024;
constexpr size_t kFoldedRoundBytes = 2048 * 1024;

size_t round_bytes(const Config& config, MachineClass machine, Collective collective) {
  // With more ranks than cores, whoever waits for a round waits for a core as well. And threads
  // share only what is long enough.
  if (machine == MachineClass::kCrowded || config.threads > 1) return kAnyBytes;
  switch (collective) {
    case Collective::kAllReduce:
    case Collective::kReduce:
    case Collective::kReduceScatter:
      return kFoldedRoundBytes;
    case Collective::kAllGather:
    case Collective::kGather:
    case Collective::kScatter:
    case Collective::kAllToAll:
      return kMovedRoundBytes;
    case Collective::kBroadcast:  // `chain` has pieces
    case Collective::kBarrier:
      break;
  }
  return kAnyBytes;
}

bool covers(const SelectionRow& row, MachineClass machine, Collective collective, size_t bytes,
            int nranks) {
  return row.machine == machine && row.collective == collective && nranks <= row.most_ranks &&
         bytes <= row.most_bytes;
}

}  // namespace

Choice select(const Config& config, MachineClass machine, Collective collective, size_t bytes,
              int nranks, bool counts_known) {
  const auto find_usable = [&](const std::string& name) {
    const Algorithm* a = find_algorithm(collective, name);
    return a && (counts_known || !a->needs_all_counts) ? a : nullptr;
  };
  const Algorithm* of_table = nullptr;
  for (const SelectionRow& row : selection_table()) {
    if (of_table != nullptr) break;
    if (covers(row, machine, collective, bytes, nranks)) of_table = find_usable(row.algorithm);
  }
  if (of_table == nullptr) of_table = &algorithms_of(collective).front();
  const Algorithm* chosen = nullptr;
  for (const auto& [name, algorithm] : config.algorithms) {
    if (chosen == nullptr && name == name_of(collective)) chosen = find_usable(algorithm);
  }
  if (chosen == nullptr) chosen = of_table;
  // What the table names gives the same bits in any number of rounds. Rings and halving do not: in
  // which order they fold an element depends on where in a round it lies.
  const bool rounds = chosen == of_table && counts_known;
  return {chosen, chain_pieces(bytes),
          rounds ? round_bytes(config, machine, collective) : kAnyBytes};
}

uint32_t scratch_slots_bound(const Algorithm& algorithm, int nranks) {
  // An all-to-all's blocks may differ by pair, so ranks could not agree on rounds; it needs one
  // slot.
  if (algorithm.collective == Collective::kAllToAll) return 0;
  uint32_t most = 0;
  Schedule schedule;
  // The powers of two are where the largest subtrees of binomial trees start.
  std::vector<int> ranks = {0, nranks / 2, nranks - 1};
  for (int64_t power = 1; power < nranks; power *= 2) ranks.push_back(static_cast<int>(power));
  for (int rank : ranks) {
    for (int in_place = 0; in_place < 2; ++in_place) {
      Params params;
      params.nranks = nranks;
      params.rank = rank;
      params.in_place = in_place != 0;
      algorithm.build(params, &schedule);
      most = std::max(most, schedule.shape.scratch_slots);
    }
  }
  return most;
}

Status check_algorithms(const Config& config) {
  for (const auto& [name, algorithm] : config.algorithms) {
    const std::optional<Collective> collective = parse_collective(name);
    if (!collective.has_value()) {
      return error(Code::kInvalidArgument, "algorithms (TUTTI_ALGO): there is no collective '%s'",
                   name.c_str());
    }
    if (find_algorithm(*collective, algorithm) != nullptr) continue;
    std::string names;
    for (const Algorithm& a : algorithms_of(*collective)) {
      names += (names.empty() ? "" : ", ") + std::string(a.name);
    }
    return error(Code::kInvalidArgument,
                 "algorithms (TUTTI_ALGO): expected one of %s for %s, got '%s'", names.c_str(),
                 name.c_str(), algorithm.c_str());
  }
  return Status();
}

}  // namespace tutti
