// Tutti over the mpi module in a program that has initialised MPI for one thread only: what works,
// what is refused, and what is said about memory that MPI keeps. Two processes under mpirun, both
// run these tests, in this order.
#include <cstdio>
#include <gtest/gtest.h>
#include <memory>
#include <mpi.h>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "tutti/tutti.h"

namespace tutti {
namespace {

class MpiEnvironment : public testing::Environment {
 public:
  void SetUp() override {
    alarm(100);
    int level = -1;
    ASSERT_EQ(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level), MPI_SUCCESS);
    ASSERT_EQ(level, MPI_THREAD_FUNNELED);
  }
  void TearDown() override {
    EXPECT_EQ(MPI_Finalize(), MPI_SUCCESS);
    alarm(0);
  }
};

testing::Environment* const kEnvironment =
    testing::AddGlobalTestEnvironment(std::make_unique<MpiEnvironment>().release());

testing::AssertionResult succeeds(tuttiResult_t result) {
  if (result == tuttiSuccess) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << tuttiGetErrorString(result) << ": " << tuttiGetLastError(nullptr);
}

// The call was refused, in words that name the transport and its level.
testing::AssertionResult refuses(tuttiResult_t result, const std::string& what) {
  const std::string text = tuttiGetLastError(nullptr);
  const bool named = text.find(what) != std::string::npos &&
                     text.find("mpi runs at MPI_THREAD_FUNNELED") != std::string::npos;
  if (result == tuttiInvalidUsage && named) return testing::AssertionSuccess();
  return testing::AssertionFailure() << tuttiGetErrorString(result) << ": " << text;
}

constexpr const char* kStream = "operations on a stream";
constexpr const char* kCreation = "creations that do not block";

// First of all tests, since those below open it.
TEST(MpiOneThreadUnopened, AnotherThreadCannotOpenIt) {
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  config.transport = "mpi";
  tuttiComm_t comm = nullptr;
  std::thread([&] {
    EXPECT_TRUE(refuses(tuttiCommInitEnv(&comm, &config), "the thread that initialised MPI"));
  }).join();
  EXPECT_EQ(comm, nullptr);
}

class MpiOneThread : public testing::Test {
 protected:
  void SetUp() override {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &nranks_);
    ASSERT_EQ(nranks_, 2);
    config_.transport = "mpi";
    ASSERT_TRUE(succeeds(tuttiCommInitEnv(&comm_, &config_)));
  }
  void TearDown() override {
    if (comm_ != nullptr) {
      EXPECT_TRUE(succeeds(tuttiCommDestroy(comm_)));
    }
  }
  void expect_works(tuttiComm_t comm) const {
    std::vector<int32_t> data(50'000, rank_ + 1);
    EXPECT_TRUE(succeeds(tuttiAllReduce(data.data(), data.data(), data.size(), tuttiInt32, tuttiSum,
                                        comm, nullptr)));
    EXPECT_EQ(data.back(), 3);
  }

  int rank_ = 0;
  int nranks_ = 0;
  tuttiConfig_t config_ = TUTTI_CONFIG_INITIALIZER;
  tuttiComm_t comm_ = nullptr;
};

TEST_F(MpiOneThread, OperationsOnStreamsAreRefused) {
  tuttiStream_t stream = nullptr;
  ASSERT_TRUE(succeeds(tuttiStreamCreate(&stream)));
  int32_t value = 1;
  const auto reduce = [&] {
    return tuttiAllReduce(&value, &value, 1, tuttiInt32, tuttiSum, comm_, stream);
  };
  EXPECT_TRUE(refuses(reduce(), kStream));
  const int peer = 1 - rank_;
  EXPECT_TRUE(refuses(tuttiSend(&value, 1, tuttiInt32, peer, comm_, stream), kStream));
  EXPECT_TRUE(refuses(tuttiRecv(&value, 1, tuttiInt32, peer, comm_, stream), kStream));
  EXPECT_TRUE(succeeds(tuttiGroupStart()));
  EXPECT_TRUE(refuses(reduce(), kStream));
  EXPECT_TRUE(refuses(tuttiGroupEnd(), kStream));
  EXPECT_EQ(tuttiBarrier(comm_, &value), tuttiInvalidArgument) << "no stream at all";
  EXPECT_TRUE(succeeds(tuttiStreamSynchronize(stream)));
  EXPECT_TRUE(succeeds(tuttiStreamDestroy(stream)));
  expect_works(comm_);
}

TEST_F(MpiOneThread, CreationsThatDoNotBlockAreRefused) {
  tuttiConfig_t free = config_;
  free.blocking = 0;
  tuttiComm_t made = nullptr;
  EXPECT_TRUE(refuses(tuttiCommSplit(comm_, 0, 0, &made, &free), kCreation));
  const int members[] = {0, 1};
  EXPECT_TRUE(refuses(tuttiCommCreateGroup(comm_, members, 2, 0, &made, &free), kCreation));
  EXPECT_TRUE(refuses(tuttiCommInitEnv(&made, &free), kCreation));
  EXPECT_EQ(made, nullptr);
  // Those that block work.
  ASSERT_TRUE(succeeds(tuttiCommSplit(comm_, 0, 0, &made, nullptr)));
  expect_works(made);
  EXPECT_TRUE(succeeds(tuttiCommDestroy(made)));
  ASSERT_TRUE(succeeds(tuttiCommInitEnv(&made, nullptr)));
  expect_works(made);
  EXPECT_TRUE(succeeds(tuttiCommDestroy(made)));
}

// Nothing tells beforehand that this one will be over mpi.
TEST_F(MpiOneThread, ACreationByIdThatDoesNotBlockFails) {
  tuttiUniqueId id = {};
  if (rank_ == 0) {
    ASSERT_TRUE(succeeds(tuttiGetUniqueId(&id)));
  }
  MPI_Bcast(&id, sizeof(id), MPI_BYTE, 0, MPI_COMM_WORLD);
  tuttiConfig_t free = config_;
  free.blocking = 0;
  tuttiComm_t made = nullptr;
  ASSERT_EQ(tuttiCommInitRankConfig(&made, nranks_, id, rank_, &free), tuttiInProgress);
  tuttiResult_t async = tuttiInProgress;
  while (async == tuttiInProgress) {
    ASSERT_TRUE(succeeds(tuttiCommGetAsyncError(made, &async)));
    sched_yield();
  }
  EXPECT_EQ(async, tuttiInvalidUsage);
  const std::string text = tuttiGetLastError(made);
  EXPECT_NE(text.find("mpi runs at MPI_THREAD_FUNNELED"), std::string::npos) << text;
  EXPECT_TRUE(succeeds(tuttiCommDestroy(made)));
}

// Rank 1 aborts while rank 0 sends it what it has not asked for.
TEST_F(MpiOneThread, AnAbortNamesTheMemoryThatMpiKeeps) {
  static std::vector<char> large(4'000'000);  // for good
  char token = 0;
  if (rank_ == 1) {
    ASSERT_TRUE(succeeds(tuttiRecvTag(&token, 1, tuttiInt8, 0, 2, nullptr, comm_, nullptr)));
    EXPECT_TRUE(succeeds(tuttiCommAbort(comm_)));
    return;
  }
  EXPECT_TRUE(succeeds(tuttiGroupStart()));
  EXPECT_TRUE(succeeds(tuttiSendTag(large.data(), large.size(), tuttiInt8, 1, 1, comm_, nullptr)));
  EXPECT_TRUE(succeeds(tuttiSendTag(&token, 1, tuttiInt8, 1, 2, comm_, nullptr)));
  const tuttiResult_t result = tuttiGroupEnd();
  const std::string at_once = tuttiGetLastError(nullptr);
  const std::string later = tuttiGetLastError(comm_);
  EXPECT_TRUE(result == tuttiAborted || result == tuttiRemoteError) << at_once;
  char lent[80];
  std::snprintf(lent, sizeof(lent), "; MPI may still read 4000000 bytes at %p",
                static_cast<void*>(large.data()));
  EXPECT_NE(at_once.find(lent), std::string::npos) << at_once;
  EXPECT_NE(later.find(lent), std::string::npos) << later;
}

}  // namespace
}  // namespace tutti
