// What groups and handles hold: the memory that was announced, whatever the routing, and nothing
// once they are gone.
#include <cstdlib>
#include <dirent.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include "tests/api/team.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/rows_cases.h"

namespace tutti {
namespace {

class ExpertMemory : public ApiTest {};

// Memory of one rank's group, as its callbacks see it.
struct Ledger {
  size_t bytes = 0;
  int allocations = 0;
  int releases = 0;
  static void* alloc(size_t bytes, void* context) {
    auto* const ledger = static_cast<Ledger*>(context);
    ledger->bytes += bytes;
    ++ledger->allocations;
    return std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  }
  static void release(void* memory, void* context) {
    ++static_cast<Ledger*>(context)->releases;
    std::free(memory);
  }
};

// refusal_problem() with all tokens on one expert.
oracle::Problem skewed_problem() {
  oracle::Problem p = refusal_problem();
  for (oracle::RankInput& rank : p.ranks) rank.ids.assign(rank.ids.size(), 1);
  return p;
}

TEST_F(ExpertMemory, IsWhatWasAnnouncedWhateverTheSkew) {
  constexpr int64_t kHidden = 6;
  for (const bool skewed : {false, true}) {
    const oracle::Problem p = skewed ? skewed_problem() : refusal_problem();
    const oracle::Prepared want = oracle::prepare(p);
    const Team team(3);
    team.run([&](int rank, tuttiComm_t comm) {
      const auto i = static_cast<size_t>(rank);
      Ledger ledger;
      tuttiEpGroupConfig_t config = ep_group_config(p);
      config.alloc = &Ledger::alloc;
      config.release = &Ledger::release;
      config.alloc_ctx = &ledger;
      size_t announced = 0;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpGroupMemory(&config, 3, &announced)));
      tuttiEpGroup_t group = nullptr;
      tuttiEpHandle_t handle = nullptr;
      const tuttiEpHandleConfig_t shape = ep_handle_config(p);
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpGroupCreate(&group, comm, &config)));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpHandleCreate(&handle, group, &shape, nullptr)));
      const tuttiEpTensor_t ids = ep_tensor(p.ranks[i].ids, {p.max_tokens, p.topk});
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(handle, &ids, nullptr, nullptr, nullptr)));
      const int64_t rows = want.layouts[i].rows;
      const std::vector<float> x(static_cast<size_t>(p.max_tokens * kHidden), 1);
      const std::vector<float> out(static_cast<size_t>(rows * kHidden));
      const std::vector<float> y(x.size());
      EpDispatch there;
      there.in.x = ep_tensor(x, {p.max_tokens, kHidden});
      there.out.x = ep_tensor(out, {rows, kHidden});
      EXPECT_TRUE(returns(tuttiSuccess, there.run(handle)));
      EpCombine back;
      back.in.x = there.out.x;
      back.out.x = ep_tensor(y, {p.max_tokens, kHidden});
      EXPECT_TRUE(returns(tuttiSuccess, back.run(handle)));
      EXPECT_EQ(y.front(), 3.0f) << "the rows of three assignments";
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(handle)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupDestroy(group)));
      EXPECT_EQ(ledger.bytes, announced);
      EXPECT_EQ(ledger.allocations, 1);
      EXPECT_EQ(ledger.releases, 1);
    });
  }
}

int open_files() {
  DIR* const folder = opendir("/proc/self/fd");
  int count = 0;
  while (folder != nullptr && readdir(folder) != nullptr) ++count;
  if (folder != nullptr) closedir(folder);
  return count;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(ExpertMemory, NothingIsLeftOfAThousandGroups) {
  constexpr int kGroups = 1000;
  const oracle::Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  const Team team(2);
  const auto make = [&](int times) {
    team.run([&](int, tuttiComm_t comm) {
      for (int i = 0; i < times; ++i) {
        const EpRank r(comm, p);
        ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
      }
    });
  };
  make(kGroups / 4);  // whatever is kept for good is there then
  const int files = open_files();
  const size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd;
  make(kGroups);
  EXPECT_EQ(open_files(), files);
  const size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
  EXPECT_LT(after, bytes + size_t{kGroups} * 64) << "bytes before: " << bytes;
}
#endif

}  // namespace
}  // namespace tutti
