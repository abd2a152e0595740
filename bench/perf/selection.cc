#include "bench/perf/selection.h"

#include <algorithm>
#include <cctype>

#include "bench/perf/measure.h"

namespace perf {

namespace {

const Contender& current_of(const Contest& contest) {
  return *std::find_if(contest.contenders.begin(), contest.contenders.end(),
                       [&](const Contender& c) { return c.algorithm == contest.current; });
}

// "reduce_scatter" -> "kReduceScatter".
std::string enumerator(const std::string& name) {
  std::string result = "k";
  bool starts = true;
  for (const char c : name) {
    if (c != '_') {
      result += starts ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    }
    starts = c == '_';
  }
  return result;
}

std::string bytes_text(size_t bytes) {
  if (bytes == tutti::kAnyBytes) return "kAnyBytes";
  if (bytes == 1024) return "kKi";
  if (bytes == 0 || bytes % 1024 != 0) return std::to_string(bytes);
  return std::to_string(bytes / 1024) + " * kKi";
}

}  // namespace

Gain gain(const Contest& contest, const Contender& other) {
  const Contender& current = current_of(contest);
  std::vector<double> gains;
  for (size_t r = 0; r < current.batch_us.size(); ++r) {
    std::vector<double> ratios;
    for (size_t b = 0; b < current.batch_us[r].size(); ++b) {
      ratios.push_back(current.batch_us[r][b] / other.batch_us[r][b]);
    }
    gains.push_back(median(std::move(ratios)));
  }
  return {*std::min_element(gains.begin(), gains.end()), median(gains)};
}

const tutti::Algorithm* winner(const Contest& contest) {
  const tutti::Algorithm* best = contest.current;
  double most = 0;
  for (const Contender& other : contest.contenders) {
    const Gain by = gain(contest, other);
    if (by.least <= kMargin || by.median <= most) continue;
    most = by.median;
    best = other.algorithm;
  }
  return best;
}

std::vector<tutti::SelectionRow> rows_of(tutti::MachineClass machine, int nranks,
                                         const std::vector<Contest>& contests) {
  std::vector<tutti::SelectionRow> rows;
  for (const Contest& contest : contests) {
    const tutti::Algorithm* const best = winner(contest);
    if (rows.empty() || rows.back().algorithm != best->name) {
      rows.push_back({machine, best->collective, nranks, 0, best->name});
    }
    rows.back().most_bytes = contest.block_bytes;
  }
  if (!rows.empty()) rows.back().most_bytes = tutti::kAnyBytes;
  return rows;
}

std::string source_of(const tutti::SelectionRow& row) {
  const std::string ranks =
      row.most_ranks == tutti::kAnyRanks ? "kAnyRanks" : std::to_string(row.most_ranks);
  return "{" + enumerator(tutti::name_of(row.machine)) +
         ", Collective::" + enumerator(tutti::name_of(row.collective)) + ", " + ranks + ", " +
         bytes_text(row.most_bytes) + ", \"" + row.algorithm + "\"},";
}

}  // namespace perf
