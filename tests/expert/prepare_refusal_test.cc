// What tuttiEpPrepare refuses, and what it does not mind.
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/ep_calls.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/rows_cases.h"

namespace tutti {
namespace {

using oracle::Problem;

class ExpertPrepareRefusal : public ApiTest {};

// Row 2^32 would be row 0.
TEST_F(ExpertPrepareRefusal, MoreRowsThanCanBeCountedAreRefused) {
  Problem p = oracle::two_ranks(oracle::Layout::kExpertSlab);
  p.expert_rank = {0, 0, 0, 1};
  p.slab_rows = INT32_MAX;
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    EXPECT_TRUE(returns(rank == 0 ? tuttiInvalidArgument : tuttiRemoteError, r.prepare()));
    EXPECT_TRUE(names(last_error(), {"rank 0", "4294967295", "6442450941"}));
  });
}

}  // namespace
}  // namespace tutti
