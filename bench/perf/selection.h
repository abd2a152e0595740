// What the selector's table should say, from what was measured. Values; pure functions.
#pragma once

#include <string>
#include <vector>

#include "comm/runtime/selection_table.h"

namespace perf {

// An algorithm that took part, and the times of its batches, which were taken in turns. Each round
// has ranks of its own: where the system lets ranks run can be worth more than an algorithm, and
// stays as it is while they live.
struct Contender {
  const tutti::Algorithm* algorithm;
  std::vector<std::vector<double>> batch_us;  // by round
};

// One size of one collective.
struct Contest {
  size_t block_bytes = 0;                     // what the selector goes by
  const tutti::Algorithm* current = nullptr;  // what it chooses now: one of the contenders
  std::vector<Contender> contenders;
};

// So many times as fast as the current choice another one has to be, in every round, to take its
// place.
inline constexpr double kMargin = 1.05;

// The time of the current choice over that of `other`, the median over pairs of batches, of each
// round: the least and the median.
struct Gain {
  double least;
  double median;
};
Gain gain(const Contest& contest, const Contender& other);
const tutti::Algorithm* winner(const Contest& contest);

// For so many ranks, from contests of one collective, smallest block first. A row ends at the
// largest size that was measured for it; the last one is for whatever is larger.
std::vector<tutti::SelectionRow> rows_of(tutti::MachineClass machine, int nranks,
                                         const std::vector<Contest>& contests);

// As selection_table.cc has it.
std::string source_of(const tutti::SelectionRow& row);

}  // namespace perf
