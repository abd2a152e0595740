// zero_copy and staged_bytes on ranks as threads.
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/zero_copy_cases.h"

namespace tutti {
namespace {

class ExpertZeroCopy : public ApiTest {
 protected:
  const RunRanks threads_ = [](int nranks, const std::function<void(int, tuttiComm_t)>& body) {
    Team(nranks).run(body);
  };
};

TEST_F(ExpertZeroCopy, NothingIsStaged) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_zero_copy(threads_, rows_problem(seed), seed, Reach::kAll);
    if (HasFailure()) return;
  }
}

TEST_F(ExpertZeroCopy, TheGroupsMemoryMayBeAnyMemory) {
  expect_zero_copy_needs_the_groups_memory(threads_, Reach::kAll);
}

TEST_F(ExpertZeroCopy, AnotherNumberIsRefused) {
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  threads_(2, [&](int, tuttiComm_t comm) {
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const std::vector<float> x(16);
    const std::vector<float> out(16);
    EpDispatch op;
    op.config.zero_copy = 3;
    op.in.x = ep_tensor(x, {r.input().tokens, 2});
    op.out.x = ep_tensor(out, {8, 2});
    EXPECT_TRUE(returns(tuttiInvalidArgument, op.run(r.handle)));
    EXPECT_TRUE(names(last_error(), {"tuttiEpDispatch", "zero_copy", "0 to 2", "3"}));
  });
}

}  // namespace
}  // namespace tutti
