// The ranks of a problem in one place: Prepare's pure functions called for each of them, with the
// exchanges between done by hand.
#pragma once

#include <memory>
#include <vector>

#include "comm/expert/agreement.h"
#include "comm/expert/arrivals.h"
#include "comm/expert/expert_schedule.h"
#include "comm/expert/routing.h"
#include "comm/expert/row_layout.h"
#include "tests/expert/oracle.h"

namespace tutti {

struct SimulatedRank {
  std::vector<int32_t> experts;
  uint64_t dropped = 0;
  Status own;
  int culprit = -1;  // of the verdict
  Status verdict;
  // What it has received.
  std::vector<uint32_t> source_rows, token, first, expert, row, count;
  std::vector<uint8_t> k;
  std::vector<float> weight;
  std::vector<int64_t> offset;
  Arrivals arrivals;
  std::vector<uint32_t> rank_rows, out_token, out_first;
  std::vector<uint8_t> out_k;
  Departures departures;
  std::vector<uint32_t> in_mates, in_entry, out_mates, out_entry;
  Entries arrival_entries, departure_entries;
  RowsOfArrivals rows;
};

class Simulated {
 public:
  explicit Simulated(const oracle::Problem& problem);
  const Placement& placement() const { return placement_; }
  const ExpertShape& shape() const { return shape_; }
  AllCounts counts() { return {counts_.data(), placement_.num_experts(), problem_.nranks()}; }

  // Borrows what ranks have.
  Routed routed(int rank) const;

  std::vector<SimulatedRank> ranks;

 private:
  void route(int rank);
  void drop_globally();
  void count(int rank);
  void exchange(int rank);
  void depart(int rank);
  void find_entries(int rank);

  const oracle::Problem& problem_;
  Placement placement_;
  ExpertShape shape_;
  std::vector<std::byte> counts_;
};

}  // namespace tutti
