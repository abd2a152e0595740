// Communicators over transports that misbehave: messages that land, come late, get lost, or end
// with their rank.
#include "comm/runtime/communicator.h"

#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <unistd.h>
#include <vector>

#include "tests/runtime/fault_team.h"

namespace tutti {
namespace {

class CommunicatorTest : public testing::Test, protected FaultTeam {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override { alarm(0); }

  static CollectiveCall sum(std::vector<int32_t>& data) {
    CollectiveCall call;
    call.collective = Collective::kAllReduce;
    call.dtype = DataType::kInt32;
    call.send = call.recv = data.data();
    call.in_place = true;
    call.count = data.size();
    return call;
  }
  static Status send(Communicator& comm, std::vector<int32_t>& data, int peer, uint64_t tag) {
    auto made = comm.make_send({data.data(), data.size(), DataType::kInt32, peer, tag});
    if (!made.ok()) return made.status();
    comm.enqueue({Order::Kind::kSend, peer, tag}, made.value().get());
    return comm.wait(*made.value());
  }
  static Status receive(Communicator& comm, std::vector<int32_t>& data, int peer, uint64_t tag,
                        int* source = nullptr) {
    auto made = comm.make_recv({data.data(), data.size(), DataType::kInt32, peer, tag}, source);
    if (!made.ok()) return made.status();
    comm.enqueue({Order::Kind::kRecv, peer, tag}, made.value().get());
    return comm.wait(*made.value());
  }
};

FaultOptions landing() {
  FaultOptions f;
  f.hide_view = true;
  return f;
}
FaultOptions late() {
  FaultOptions f;
  f.delay = f.stall = 0.2;
  f.hide_offer = 0.5;
  return f;
}

TEST_F(CommunicatorTest, CollectivesOverEveryTransport) {
  FaultOptions late_landing = late();
  late_landing.hide_view = true;
  for (const FaultOptions& f : {FaultOptions{}, landing(), late(), late_landing}) {
    for (int n : {2, 3, 5}) {
      make(n, {f});
      on_ranks([&](int rank, Communicator& comm) {
        for (size_t count : {size_t{0}, size_t{1}, size_t{7000}, size_t{100'000}}) {
          std::vector<int32_t> data(count, rank);
          const Status status = comm.run(sum(data));
          ASSERT_TRUE(status.ok()) << status.text();
          for (int32_t v : data) ASSERT_EQ(v, n * (n - 1) / 2);
        }
      });
    }
  }
}

// One rank views, the other lands: local facts that nobody else needs to know.
TEST_F(CommunicatorTest, RanksMayDiffer) {
  make(3, {FaultOptions{}, landing(), late()});
  on_ranks([&](int rank, Communicator& comm) {
    for (size_t count : {size_t{1}, size_t{50'000}}) {
      std::vector<int32_t> data(count, rank);
      ASSERT_TRUE(comm.run(sum(data)).ok());
      EXPECT_EQ(data.back(), 3);
    }
  });
}

TEST_F(CommunicatorTest, MessagesOverEveryTransport) {
  FaultOptions late_landing = late();
  late_landing.hide_view = true;
  for (const FaultOptions& f : {FaultOptions{}, landing(), late(), late_landing}) {
    make(2, {f});
    on_ranks([&](int rank, Communicator& comm) {
      for (int i = 0; i < 30; ++i) {
        for (size_t count : {size_t{0}, size_t{1}, size_t{5000}}) {
          std::vector<int32_t> out(count, i);
          std::vector<int32_t> in(count, -1);
          const Status a = rank == 0 ? send(comm, out, 1, 3) : receive(comm, in, 0, 3);
          const Status b = rank == 1 ? send(comm, out, 0, 4) : receive(comm, in, 1, 4);
          ASSERT_TRUE(a.ok() && b.ok()) << a.text() << b.text();
          ASSERT_EQ(in, out);
        }
      }
    });
  }
}

TEST_F(CommunicatorTest, MismatchedMessagesThatLand) {
  make(2, {landing()});
  on_ranks([&](int rank, Communicator& comm) {
    std::vector<int32_t> data(rank == 0 ? 4 : 5, 3);
    const Status status = rank == 0 ? send(comm, data, 1, 0) : receive(comm, data, 0, 0);
    if (rank == 0) return;
    EXPECT_EQ(status.code(), Code::kMismatch);
    EXPECT_NE(status.text().find("expected 5 i32, rank 0 sent 4 i32"), std::string::npos)
        << status.text();
    EXPECT_EQ(data, std::vector<int32_t>(5, 3));
  });
}

// A message that is lost is missed at the deadline, by name.
TEST_F(CommunicatorTest, LostMessage) {
  FaultOptions lossy;
  lossy.drop = DropRule{Plane::kCollective, 1, 0, 3};
  make(2, {lossy, FaultOptions{}}, 0.2);
  on_ranks([&](int rank, Communicator& comm) {
    Status status;
    for (int i = 0; i < 10 && status.ok(); ++i) {
      std::vector<int32_t> data(1, rank);
      status = comm.run(sum(data));
      EXPECT_TRUE(!status.ok() || data[0] == 1) << "never wrong data";
    }
    EXPECT_FALSE(status.ok());
    EXPECT_TRUE(status.code() == Code::kTimeout || status.code() == Code::kRemoteError)
        << status.text();
    EXPECT_NE(status.text().find("all_reduce"), std::string::npos) << status.text();
  });
}

// What begin() says is what everybody hears: it is not lost because advance() was never called.
class Unbegun final : public Operation {
 public:
  Status begin() override { return error(Code::kOutOfMemory, "no room to begin"); }
  Progress advance() override { return Progress::kDone; }
  Status failure() const override { return Status(); }
  Status health(int* /*peer*/) const override { return Status(); }
  int waiting_for() const override { return -1; }
  std::string describe() const override { return "unbegun"; }
};

TEST_F(CommunicatorTest, OperationThatCannotBegin) {
  make(2, {FaultOptions{}});
  Unbegun operation;
  at(0).enqueue({Order::Kind::kExpert, 0, 0}, &operation);
  EXPECT_EQ(at(0).wait(operation).code(), Code::kOutOfMemory);
  EXPECT_EQ(at(0).error().code(), Code::kOutOfMemory);
  std::vector<int32_t> data(1);
  const Status there = at(1).run(sum(data));
  EXPECT_EQ(there.code(), Code::kRemoteError);
  EXPECT_NE(there.text().find("no room to begin"), std::string::npos) << there.text();
}

// A rank that dies in the middle of anything: the others end, none with wrong data.
TEST_F(CommunicatorTest, RankThatDiesAnywhere) {
  for (int n : {2, 3, 4}) {
    for (uint64_t at_call = 1; at_call < 120; at_call += 3) {
      FaultOptions dying;
      dying.kill_at = at_call;
      make(n, {dying, FaultOptions{}}, 20);
      on_ranks([&](int rank, Communicator& comm) {
        for (int i = 0; i < 30; ++i) {
          const size_t count = i % 2 == 0 ? 1 : 5000;
          std::vector<int32_t> data(count, rank);
          const Status status = comm.run(sum(data));
          if (status.ok()) {
            ASSERT_EQ(data.back(), n * (n - 1) / 2);
            continue;
          }
          EXPECT_TRUE(status.code() == Code::kRemoteError || status.code() == Code::kAborted)
              << "rank " << rank << ": " << status.text();
          EXPECT_EQ(comm.error().code(), status.code());
          return;
        }
        EXPECT_NE(rank, 0) << "it died at call " << at_call;
      });
    }
  }
}

}  // namespace
}  // namespace tutti
