// What a run does when an input is lost under a kernel: a fetch that fails half way, or a channel
// that has ended by the time the message is given back. It writes nothing further, posts nothing,
// and its health names the peer.
//
// One rank of two, on channels that do as they are told.
#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include "tests/exec/world.h"

namespace tutti {
namespace {

constexpr size_t kFetch = size_t{64} << 10;  // what an execution fetches at a time
constexpr size_t kHalf = 4 * kFetch;
constexpr size_t kCount = 2 * kHalf / sizeof(float);
constexpr float kTheirs = 3;
constexpr float kOurs = 4;
constexpr float kMark = -7;
constexpr OpHeader kHeader{1, 0, 99};

// The peer takes everything at once.
class TakingSend final : public SendChannel {
 public:
  bool post_send(const OpHeader*, const iovec*, int) override { return ++posted_ > 0; }
  void* place(size_t, uint64_t) override { return nullptr; }
  bool post_placed(const OpHeader*, size_t) override { return false; }
  uint64_t posted() const override { return posted_; }
  uint64_t sent() override { return posted_; }
  uint64_t consumed() override { return posted_; }
  Status health() const override { return Status(); }

 private:
  uint64_t posted_ = 0;
};

// Two messages of kHalf bytes that lie in the peer, as RingRecvChannel shows them.
class LosingRecv final : public RecvChannel {
 public:
  int fail_fetch = -1;      // the fetch that fails, from 0
  int fail_release = -1;    // the release that says that the channel has ended
  bool own_fault = false;   // the fetch fails, and the channel is well
  bool shows_more = false;  // after its end
  int fetches = 0;
  int late = 0;  // looks before a message is there

  const Message* view() override {
    if (late > 0) {
      --late;
      return nullptr;
    }
    if ((!ended_.ok() && !shows_more) || received_ - base_ >= 2) return nullptr;
    message_ = {received_ == base_ ? &kHeader : nullptr, nullptr, 0, kHalf, false};
    return &message_;
  }
  bool release() override {
    if (fail_release == static_cast<int>(received_ - base_)) {
      ended_ = error(Code::kAborted, "the communicator has ended");
      return false;
    }
    ++received_;
    return true;
  }
  Status fetch(size_t, void* to, size_t bytes) override {
    if (fetches++ == fail_fetch) {
      Status lost = error(Code::kRemoteError, "cannot read %zu bytes", bytes);
      if (!own_fault) ended_ = lost;
      return lost;
    }
    std::fill_n(static_cast<float*>(to), bytes / sizeof(float), kTheirs);
    return Status();
  }
  void post_recv(const iovec*, int) override {}
  uint64_t received() override { return received_; }
  const Message& last() const override { return message_; }
  void offer(uint64_t, void*, size_t, uint64_t) override {}
  Status health() const override { return ended_; }
  // All is well, and two more messages are there.
  void recover() {
    fail_fetch = fail_release = -1;
    ended_ = Status();
    base_ = received_;
  }

 private:
  Message message_ = {};
  uint64_t received_ = 0;
  uint64_t base_ = 0;
  Status ended_;
};

class LostInput : public testing::Test, public ChannelSource {
 protected:
  void SetUp() override {
    Params params;
    params.nranks = 2;
    params.rank = 1;
    Schedule schedule;
    make_schedule(*find_algorithm(Collective::kAllReduce, "two_shot"), params, &schedule);
    const DataLayout layout({1, kCount, {}, {}}, {1, kCount, {}, {}},
                            schedule.shape.chunks_per_block, sizeof(float), 0, 0);
    Capabilities can = {64, SIZE_MAX, 64, true, false, true, {}};
    auto bound = Plan::bind(schedule, layout, can, *this);
    ASSERT_TRUE(bound.ok()) << bound.status().text();
    plan_ = std::move(bound.value());
    scratch_.resize(plan_->scratch_bytes());
    start();
  }
  void start() { start(&run_); }
  void start(Execution* run) {
    output_.assign(kCount, kMark);
    const Arithmetic how{DataType::kFloat32, ReduceOp::kSum, 0, Stores::kCached};
    run->start(plan_.get(), {input_.data(), output_.data(), scratch_.data()}, kHeader, how, &host(),
               &gate_);
  }
  Result<SendChannel*> send_channel(int, uint32_t) override { return &send_; }
  Result<RecvChannel*> recv_channel(int, uint32_t) override { return &recv_; }

  // Nothing moves any more, whoever asks.
  void expect_over() {
    EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
    const std::vector<float> then(kCount, kMark);
    output_ = then;  // the caller has been told, and uses it again
    const uint64_t posted = send_.posted();
    const int fetches = recv_.fetches;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
    EXPECT_EQ(output_, then);
    EXPECT_EQ(send_.posted(), posted);
    EXPECT_EQ(recv_.fetches, fetches);
    EXPECT_TRUE(gate_.clean());
  }
  void expect_peer_named(Code code) {
    int peer = -1;
    const Status health = run_.health(&peer);
    EXPECT_EQ(health.code(), code) << health.text();
    EXPECT_EQ(peer, 0);
    EXPECT_NE(health.text().find("rank 0: "), std::string::npos) << health.text();
  }
  // Elements of the output that differ from the mark.
  size_t written() const {
    return kCount - static_cast<size_t>(std::count(output_.begin(), output_.end(), kMark));
  }

  TakingSend send_;
  LosingRecv recv_;
  std::vector<float> input_ = std::vector<float>(kCount, kOurs);
  std::vector<float> output_;
  std::vector<char> scratch_;
  std::unique_ptr<Plan> plan_;
  WatchedGate gate_;
  Execution run_;
};

TEST_F(LostInput, NothingIsLost) {
  EXPECT_EQ(run_.advance(), Execution::State::kDone);
  EXPECT_EQ(send_.posted(), 2u) << "its input for the other, then the sum";
  EXPECT_EQ(std::count(output_.begin(), output_.end(), kOurs + kTheirs), kCount / 2);
  EXPECT_EQ(std::count(output_.begin(), output_.end(), kTheirs), kCount / 2) << "as it came";
}

TEST_F(LostInput, NothingIsLostButLate) {
  // Twice each: the first time over its own message has gone out, so that all is tried once more.
  constexpr int kLate = 100;
  recv_.late = kLate;
  EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
  EXPECT_EQ(kLate - recv_.late, 2 * 1) << "unless told, one look";
  recv_.late = 0;
  EXPECT_EQ(run_.advance(), Execution::State::kDone);

  Execution run(3);
  recv_.recover();
  recv_.late = kLate;
  start(&run);
  EXPECT_EQ(run.advance(), Execution::State::kBlocked);
  EXPECT_EQ(kLate - recv_.late, 2 * (1 + 3));
  recv_.late = 3;
  EXPECT_EQ(run.advance(), Execution::State::kDone);
}

TEST_F(LostInput, InTheMiddleOfAReduction) {
  recv_.fail_fetch = 2;
  EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
  EXPECT_EQ(written(), 2 * kFetch / sizeof(float));
  EXPECT_EQ(send_.posted(), 1u) << "half a sum must not go out";
  EXPECT_EQ(recv_.received(), 0u) << "a message that was lost is not given back";
  expect_over();
  expect_peer_named(Code::kRemoteError);
}

TEST_F(LostInput, InTheMiddleOfACopy) {
  recv_.fail_fetch = 4;  // the first message is four of them, the second goes straight to its place
  EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
  EXPECT_EQ(written(), kCount / 2);
  EXPECT_EQ(recv_.received(), 1u);
  expect_over();
  expect_peer_named(Code::kRemoteError);
}

TEST_F(LostInput, ForAReasonThatIsNotTheChannels) {
  recv_.fail_fetch = 1;
  recv_.own_fault = true;
  EXPECT_EQ(run_.advance(), Execution::State::kFailed);
  EXPECT_NE(run_.failure().text().find("cannot read"), std::string::npos) << run_.failure().text();
  EXPECT_EQ(send_.posted(), 1u);
  EXPECT_TRUE(gate_.clean());
}

TEST_F(LostInput, TheChannelHasEndedUnderTheKernel) {
  recv_.fail_release = 0;
  EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
  EXPECT_EQ(written(), kCount / 2);
  EXPECT_EQ(send_.posted(), 1u) << "a sum of what may have changed must not go out";
  expect_over();
  expect_peer_named(Code::kAborted);
}

// Of several inputs others have been given back by then: what comes next is not what is expected.
TEST_F(LostInput, WhateverTheChannelStillShows) {
  recv_.fail_release = 0;
  recv_.shows_more = true;
  EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
  expect_over();
}

TEST_F(LostInput, TheNextRunIsAsGoodAsAny) {
  for (const bool by_release : {true, false}) {
    (by_release ? recv_.fail_release : recv_.fail_fetch) = by_release ? 1 : recv_.fetches + 1;
    EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
    recv_.recover();
    start();
    EXPECT_EQ(run_.advance(), Execution::State::kDone);
    EXPECT_EQ(written(), kCount);
    recv_.recover();
    start();
  }
}

}  // namespace
}  // namespace tutti
