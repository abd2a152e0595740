// Operations of an expert group that nobody waits for, on all ranks; wherever the ranks are.
#pragma once

#include "tests/expert/rows_cases.h"

namespace tutti {

// Dispatches and combines of as many handles as may be under way, completed in the order of their
// calls, or the other way round; and one more.
void expect_in_flight(const RunRanks& run, int nranks, bool reversed);

// Two batches in turns, as an inference loop has them: while the rows of one are on their way the
// other one is computed.
void expect_two_batches(const RunRanks& run, int nranks);

// As many streams as operations may be under way, and one more.
void expect_streams_in_flight(const RunRanks& run, int nranks);

// One rank's arguments are wrong: what tuttiEpComplete says on each.
void expect_send_only_refused(const RunRanks& run);

// Several handles between tuttiGroupStart and tuttiGroupEnd.
void expect_grouped_rows(const RunRanks& run, int nranks);

}  // namespace tutti
