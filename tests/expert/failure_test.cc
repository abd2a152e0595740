// Expert groups over transports that misbehave: who is named when a peer is gone or its messages
// are.
#include <gtest/gtest.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/expert/prepare.h"
#include "comm/expert/row_operation.h"
#include "tests/runtime/fault_team.h"

namespace tutti {
namespace {

constexpr uint32_t kTokens = 40;
constexpr size_t kRowBytes = 6000;

// Every token of every rank has an assignment on each of three ranks.
struct Member {
  explicit Member(Communicator& communicator) : comm(communicator) {
    ExpertGroupConfig config;
    config.placement.nranks = comm.nranks();
    config.placement.ranks_per_node = comm.nranks();
    config.placement.num_experts = static_cast<uint32_t>(comm.nranks());
    config.max_tokens = kTokens;
    config.max_topk = 3;
    config.max_token_bytes = kRowBytes;
    Result<std::unique_ptr<ExpertGroup>> made = ExpertGroup::create(comm, 0, config, Status());
    status = made.status();
    if (!made.ok()) return;
    group = std::move(made.value());
    ExpertShape shape;
    shape.topk = 3;
    shape.max_tokens = kTokens;
    handle = std::make_unique<ExpertHandle>(*group, shape, nullptr);
    for (uint32_t t = 0; t < kTokens; ++t) ids.insert(ids.end(), {0, 1, 2});
  }
  void run(Operation&& operation) {
    comm.enqueue(group->order(), &operation);
    status = comm.wait(operation);
  }
  void prepare() {
    if (!status.ok()) return;
    PrepareCall call;
    call.ids = {ids.data(), false, 3 * sizeof(int32_t), kTokens, 3};
    run(PrepareOperation(*handle, call));
  }
  void dispatch() {
    if (!status.ok()) return;
    DispatchCall call;
    call.in = {x.data(), DataType::kUint8, kTokens, kRowBytes, kRowBytes};
    call.out = {out.data(), DataType::kUint8, 3 * kTokens, kRowBytes, kRowBytes};
    run(DispatchOperation(*handle, call));
  }

  Communicator& comm;
  Status status;
  std::unique_ptr<ExpertGroup> group;
  std::unique_ptr<ExpertHandle> handle;
  std::vector<int32_t> ids;
  std::vector<uint8_t> x = std::vector<uint8_t>(kTokens * kRowBytes);
  std::vector<uint8_t> out = std::vector<uint8_t>(3 * kTokens * kRowBytes);
};

class ExpertFailure : public testing::Test, protected FaultTeam {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override { alarm(0); }
};

// Nothing that rank 2 has for rank 0 from message `number` on arrives: creation, the counts of
// Prepare, the routing, and rows.
TEST_F(ExpertFailure, WhoseMessagesAreLostIsNamed) {
  for (uint64_t number = 1; number <= 3; ++number) {
    SCOPED_TRACE("message " + std::to_string(number));
    FaultOptions lossy;
    lossy.drop = DropRule{Plane::kExpert, 0, 0, number};
    make(3, {{}, {}, lossy}, 0.4);
    on_ranks([&](int rank, Communicator& comm) {
      Member member(comm);
      member.prepare();
      for (int round = 0; round < 3; ++round) member.dispatch();
      // Rank 0 misses the rows, and rank 2 that they are taken: whoever finds out first tells all.
      ASSERT_FALSE(member.status.ok());
      const GroupFailures::Failure failure = member.group->async_error();
      EXPECT_EQ(failure.code, member.status.code());
      if (rank == 1) return;
      EXPECT_EQ(failure.rank, 2 - rank) << member.status.text();
    });
  }
}

// Rank 2 dies wherever it is. The first who finds out tells all, and may be named by who hears it.
TEST_F(ExpertFailure, WhoIsGoneIsNamed) {
  for (uint64_t at = 10; at <= 3000; at += at / 3) {
    SCOPED_TRACE("call " + std::to_string(at));
    FaultOptions mortal;
    mortal.kill_at = at;
    make(3, {{}, {}, mortal});
    std::vector<int> named(3, -1);
    std::vector<Status> ended(3);
    const int64_t begin = now_ns();
    on_ranks([&](int rank, Communicator& comm) {
      const auto r = static_cast<size_t>(rank);
      Member member(comm);
      member.prepare();
      for (int round = 0; round < 1000 && member.status.ok(); ++round) member.dispatch();
      ended[r] = member.status;
      // It may have been gone before there was a group.
      named[r] = member.group ? member.group->async_error().rank : comm.culprit();
    });
    EXPECT_LT(now_ns() - begin, 20'000'000'000) << "only at the deadline of the communicator";
    for (size_t r = 0; r < 3; ++r) EXPECT_FALSE(ended[r].ok());
    for (size_t r = 0; r < 2; ++r) {
      const size_t other = 1 - r;
      EXPECT_TRUE(named[r] == 2 || named[r] == static_cast<int>(other))
          << "rank " << r << " names " << named[r] << ": " << ended[r].text();
    }
    EXPECT_TRUE(named[0] == 2 || named[1] == 2) << ended[0].text() << "; " << ended[1].text();
  }
}

}  // namespace
}  // namespace tutti
