// What tuttiEpGetStats must say, against the oracle's count of the rows that have to travel;
// wherever the ranks are.
#pragma once

#include "tests/expert/rows_cases.h"

namespace tutti {

struct EpStats {
  // Of a group of `nranks` ranks, `local` experts here.
  EpStats(size_t nranks, size_t local) : peer_wait_ns(nranks), expert_rows(local) {
    counts.hdr = TUTTI_EP_HDR(tuttiEpStats_t);
  }
  tuttiResult_t read(tuttiEpGroup_t group, bool reset) {
    return tuttiEpGetStats(group, &counts, peer_wait_ns.data(), expert_rows.data(), reset ? 1 : 0);
  }
  tuttiEpStats_t counts = {};
  std::vector<uint64_t> peer_wait_ns;
  std::vector<int64_t> expert_rows;
};

// Rows and bytes of Dispatch and of Combine by DIRECT, on random shapes: a row to every distinct
// rank, whatever the layout; back the same, or with SLOT one for each assignment.
void expect_traffic(const RunRanks& run, const oracle::Problem& p, uint64_t seed);

}  // namespace tutti
