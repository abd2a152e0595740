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

bool covers(const SelectionRow& row, MachineClass machine, Collective collective, size_t bytes,
            int nranks) {
  return row.machine == machine && row.collective == collective && nranks <= row.most_ranks &&
         bytes <= row.most_bytes;
}

}  // namespace

Choice select(const Config& config, MachineClass machine, Collective collective, size_t bytes,
              int nranks, bool counts_known) {
  const int pieces = chain_pieces(bytes);
  const auto usable = [&](const Algorithm* a) {
    return a && (counts_known || !a->needs_all_counts);
  };
  for (const auto& [name, algorithm] : config.algorithms) {
    if (name != name_of(collective)) continue;
    const Algorithm* a = find_algorithm(collective, algorithm);
    if (usable(a)) return {a, pieces};
  }
  for (const SelectionRow& row : selection_table()) {
    if (!covers(row, machine, collective, bytes, nranks)) continue;
    const Algorithm* a = find_algorithm(collective, row.algorithm);
    if (usable(a)) return {a, pieces};
  }
  return {&algorithms_of(collective).front(), pieces};
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
