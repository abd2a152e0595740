// Communicators that ranks make by finding each other: by unique id and by a function of the
// caller's. The ranks are threads of this process; tests/launch has the same between processes.
#include <cstring>
#include <new>

#include "tests/api/team.h"

namespace tutti {
namespace {

using WorldTest = ApiTest;

tuttiUniqueId new_id() {
  tuttiUniqueId id;
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGetUniqueId(&id)));
  return id;
}

TEST_F(WorldTest, ByUniqueId) {
  for (int n : {1, 2, 5}) {
    const tuttiUniqueId id = new_id();
    on_ranks(n, [&](int rank) {
      tuttiComm_t comm = nullptr;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiCommInitRank(&comm, n, id, rank)));
      expect_member(comm, rank, n);
      // What is made out of it works like any other communicator.
      tuttiComm_t half = nullptr;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiCommSplit(comm, rank % 2, 0, &half, nullptr)));
      expect_member(half, rank / 2, (n + (rank + 1) % 2) / 2);
      finish(half);
      finish(comm);
    });
  }
}

TEST_F(WorldTest, ManyJobsAtOnce) {
  constexpr int kJobs = 4;
  std::vector<tuttiUniqueId> ids;
  for (int j = 0; j < kJobs; ++j) ids.push_back(new_id());
  on_ranks(2 * kJobs, [&](int thread) {
    tuttiComm_t comm = nullptr;
    const int rank = thread % 2;
    ASSERT_TRUE(returns(tuttiSuccess,
                        tuttiCommInitRank(&comm, 2, ids[static_cast<size_t>(thread / 2)], rank)));
    expect_member(comm, rank, 2);
    finish(comm);
  });
}

TEST_F(WorldTest, WithoutBlocking) {
  const tuttiUniqueId id = new_id();
  on_ranks(2, [&](int rank) {
    tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
    config.blocking = 0;
    tuttiComm_t comm = nullptr;
    ASSERT_TRUE(returns(tuttiInProgress, tuttiCommInitRankConfig(&comm, 2, id, rank, &config)));
    ASSERT_NE(comm, nullptr);
    tuttiResult_t async = tuttiInProgress;
    ASSERT_TRUE(wait_until([&] {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommGetAsyncError(comm, &async)));
      return async != tuttiInProgress;
    }));
    ASSERT_EQ(async, tuttiSuccess) << last_error(comm);
    expect_member(comm, rank, 2);
    finish(comm);
  });
}

TEST_F(WorldTest, WithoutBlockingItCanBeAborted) {
  const tuttiUniqueId id = new_id();
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  config.blocking = 0;
  tuttiComm_t comm = nullptr;
  ASSERT_TRUE(returns(tuttiInProgress, tuttiCommInitRankConfig(&comm, 2, id, 0, &config)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(comm)));
  tuttiResult_t async = tuttiInProgress;
  EXPECT_TRUE(wait_until([&] {
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommGetAsyncError(comm, &async)));
    return async != tuttiInProgress;
  }));
  EXPECT_EQ(async, tuttiAborted);
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(comm)));
}

TEST_F(WorldTest, AbsentRanksAreNamedAtTheDeadline) {
  const tuttiUniqueId id = new_id();
  const tuttiConfig_t config = config_with_timeout(0.2);
  tuttiComm_t comm = reinterpret_cast<tuttiComm_t>(1);
  EXPECT_TRUE(returns(tuttiTimeout, tuttiCommInitRankConfig(&comm, 4, id, 2, &config)));
  EXPECT_TRUE(names(last_error(), {"rank 2 of 4", "ranks 0, 1, 3", "did not join"}));
  EXPECT_EQ(comm, nullptr);
}

TEST_F(WorldTest, ASettingThatDiffersIsNamedOnAllRanks) {
  const tuttiUniqueId id = new_id();
  on_ranks(3, [&](int rank) {
    tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
    config.buffer_cap = rank == 2 ? 1 << 20 : 2 << 20;
    tuttiComm_t comm = nullptr;
    EXPECT_TRUE(returns(tuttiMismatch, tuttiCommInitRankConfig(&comm, 3, id, rank, &config)));
    EXPECT_TRUE(names(last_error(), {"rank " + std::to_string(rank) + " of 3", "buffer_cap",
                                     "rank 0", "\"2M\"", "rank 2", "\"1M\""}));
  });
}

TEST_F(WorldTest, RanksThatDisagreeOnTheirNumber) {
  const tuttiUniqueId id = new_id();
  on_ranks(2, [&](int rank) {
    const tuttiConfig_t config = config_with_timeout(20);
    tuttiComm_t comm = nullptr;
    EXPECT_TRUE(
        returns(tuttiMismatch, tuttiCommInitRankConfig(&comm, 2 + rank, id, rank, &config)));
    EXPECT_TRUE(names(last_error(), {"expects", "ranks, others"}));
  });
}

TEST_F(WorldTest, OneRankTwice) {
  const tuttiUniqueId id = new_id();
  on_ranks(2, [&](int) {
    const tuttiConfig_t config = config_with_timeout(20);
    tuttiComm_t comm = nullptr;
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommInitRankConfig(&comm, 2, id, 1, &config)));
    EXPECT_TRUE(names(last_error(), {"two processes say they are rank 1"}));
  });
}

TEST_F(WorldTest, AnIdThatNobodyServes) {
  tuttiUniqueId id = new_id();
  // Its job has come and gone.
  on_ranks(2, [&](int rank) {
    tuttiComm_t comm = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiCommInitRank(&comm, 2, id, rank)));
    finish(comm);
  });
  const tuttiConfig_t config = config_with_timeout(0.2);
  tuttiComm_t comm = nullptr;
  // Whether the rendezvous has closed by now or still knows the job, nobody can join it again.
  const tuttiResult_t result = tuttiCommInitRankConfig(&comm, 2, id, 0, &config);
  EXPECT_NE(result, tuttiSuccess);
  EXPECT_EQ(comm, nullptr);
  std::memset(&id, 7, sizeof id);
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommInitRank(&comm, 2, id, 0)));
  EXPECT_TRUE(names(last_error(), {"tuttiCommInitRank", "unique id"}));
}

TEST_F(WorldTest, BadArguments) {
  const tuttiUniqueId id = new_id();
  tuttiComm_t comm = nullptr;
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiGetUniqueId(nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommInitRank(nullptr, 2, id, 0)));
  for (const auto& [n, rank] :
       {std::pair{0, 0}, {-1, 0}, {2, 2}, {2, -1}, {INT32_MAX, 0}, {(1 << 20) + 1, 3}}) {
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommInitRank(&comm, n, id, rank)));
    EXPECT_TRUE(names(last_error(), {"got rank " + std::to_string(rank)}));
  }
  EXPECT_TRUE(
      returns(tuttiInvalidArgument, tuttiCommInitExchange(&comm, 2, 0, nullptr, nullptr, nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommInitEnv(&comm, nullptr)));
  EXPECT_TRUE(names(last_error(), {"TUTTI_RANK", "torchrun", "mpirun"}));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommInitEnv(nullptr, nullptr)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommInitRank(&comm, 2, id, 0)));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiGroupEnd()));
}

// An all-gather among threads.
class Table {
 public:
  explicit Table(int n) : team_(n) {}
  static int all_gather(const void* mine, void* all, size_t bytes, void* context) {
    auto* self = static_cast<std::pair<Table*, int>*>(context);
    return self->first->run(self->second, mine, all, bytes);
  }

 private:
  int run(int rank, const void* mine, void* all, size_t bytes) {
    return tuttiAllGather(mine, all, bytes, tuttiUint8, team_[rank], nullptr);
  }
  Team team_;
};

TEST_F(WorldTest, ByAFunctionOfTheCaller) {
  Table table(3);
  on_ranks(3, [&](int rank) {
    std::pair<Table*, int> context{&table, rank};
    tuttiComm_t comm = nullptr;
    ASSERT_TRUE(returns(
        tuttiSuccess, tuttiCommInitExchange(&comm, 3, rank, Table::all_gather, &context, nullptr)));
    expect_member(comm, rank, 3);
    finish(comm);
  });
}

TEST_F(WorldTest, AFunctionThatFails) {
  tuttiComm_t comm = nullptr;
  const auto fails = [](const void*, void*, size_t, void*) { return 42; };
  EXPECT_TRUE(
      returns(tuttiSystemError, tuttiCommInitExchange(&comm, 2, 0, fails, nullptr, nullptr)));
  EXPECT_TRUE(names(last_error(), {"tuttiCommInitExchange", "42"}));
}

// Memory that is not there, deep inside a creation: a function of the caller stands for it.
TEST_F(WorldTest, NoMemory) {
  const auto no_memory = [](const void*, void*, size_t, void*) -> int { throw std::bad_alloc(); };
  tuttiComm_t comm = nullptr;
  EXPECT_TRUE(
      returns(tuttiOutOfMemory, tuttiCommInitExchange(&comm, 2, 0, no_memory, nullptr, nullptr)));
  EXPECT_TRUE(names(last_error(), {"tuttiCommInitExchange", "out of memory"}));
  EXPECT_EQ(comm, nullptr);
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  config.blocking = 0;
  ASSERT_TRUE(
      returns(tuttiInProgress, tuttiCommInitExchange(&comm, 2, 0, no_memory, nullptr, &config)));
  tuttiResult_t async = tuttiInProgress;
  EXPECT_TRUE(wait_until([&] {
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommGetAsyncError(comm, &async)));
    return async != tuttiInProgress;
  }));
  EXPECT_EQ(async, tuttiOutOfMemory);
  EXPECT_TRUE(names(last_error(comm), {"rank 0 of 2", "out of memory"}));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(comm)));
}

// As many ranks as there may be: no more than a wait for those that do not come.
TEST_F(WorldTest, AMillionRanks) {
  const tuttiUniqueId id = new_id();
  const tuttiConfig_t config = config_with_timeout(0.2);
  tuttiComm_t comm = nullptr;
  EXPECT_TRUE(returns(tuttiTimeout, tuttiCommInitRankConfig(&comm, 1 << 20, id, 5, &config)));
  EXPECT_TRUE(names(last_error(), {"rank 5 of 1048576", "and 1048565 more did not join"}));
}

}  // namespace
}  // namespace tutti
