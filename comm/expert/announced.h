// What a rank has announced of its assignments, and whether what it then tells is that.
//
// Room for messages, tables and rows is taken by what was announced, and a peer's word is not
// trusted. Who is not at one with himself has gone wrong altogether: kRemoteError, which is no
// refusal that others know of, and ends the communicator.
#pragma once

#include "comm/base/status.h"
#include "comm/expert/agreement.h"
#include "comm/expert/arrivals.h"
#include "comm/expert/row_layout.h"

namespace tutti {

// Before `rank` takes room for what the others will tell it: no more tokens than a rank may have,
// and no more assignments and tokens for this rank than come of those.
Status check_announced(const ExpertShape& shape, const Placement& placement, const AllCounts& all,
                       int rank);

// Before anything is written by `rows`, where lay_out() has put what `rank` was told: as many
// assignments of each expert as were announced, and no more tokens of each source.
Status check_told(const Placement& placement, const AllCounts& all, int rank,
                  const Arrivals& arrivals, const RowsOfArrivals& rows);

}  // namespace tutti
