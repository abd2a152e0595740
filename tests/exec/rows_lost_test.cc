// Messages of rows that do not come as the sender's rows lie: in parts that cut rows, in one piece,
// to be fetched; and those that are lost, or are not what was expected.
//
// One rank of three, on channels that do as they are told.
#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include "tests/exec/row_team.h"
#include "tests/exec/row_values.h"

namespace tutti {
namespace {

constexpr OpHeader kHeader{1, 0, 99};

// Takes everything at once.
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

// One message, in parts of the lengths given (the last again and again), or to be fetched.
class ToldRecv final : public RecvChannel {
 public:
  std::vector<uint8_t> bytes;
  std::vector<size_t> cuts;
  bool fetched = false;
  bool here = true;
  bool has_header = true;
  int fail_fetch = -1;
  bool own_fault = false;
  bool fail_release = false;
  std::vector<size_t> fetches;

  const Message* view() override {
    if (!here || received_ > 0 || !ended_.ok()) return nullptr;
    parts_.clear();
    size_t at = 0;
    for (size_t i = 0; at < bytes.size(); ++i) {
      const size_t n = std::min(cuts[std::min(i, cuts.size() - 1)], bytes.size() - at);
      parts_.push_back({bytes.data() + at, n});
      at += n;
    }
    message_ = {has_header ? &kHeader : nullptr, fetched ? nullptr : parts_.data(),
                fetched ? 0 : static_cast<int>(parts_.size()), bytes.size(), false};
    return &message_;
  }
  bool release() override {
    if (fail_release) {
      ended_ = error(Code::kAborted, "the communicator has ended");
      return false;
    }
    ++received_;
    return true;
  }
  Status fetch(size_t offset, void* to, size_t n) override {
    if (static_cast<int>(fetches.size()) == fail_fetch) {
      Status lost = error(Code::kRemoteError, "cannot read %zu bytes", n);
      if (!own_fault) ended_ = lost;
      return lost;
    }
    fetches.push_back(n);
    EXPECT_LE(offset + n, bytes.size());
    std::memcpy(to, bytes.data() + offset, n);
    return Status();
  }
  void post_recv(const iovec*, int) override {}
  uint64_t received() override { return received_; }
  const Message& last() const override { return message_; }
  void offer(uint64_t, void*, size_t, uint64_t) override {}
  Status health() const override { return ended_; }
  void end() { ended_ = error(Code::kRemoteError, "it has left"); }

 private:
  std::vector<iovec> parts_;
  Message message_ = {};
  uint64_t received_ = 0;
  Status ended_;
};

// The gate closes after so many entries.
class ClosingGate final : public KernelGate {
 public:
  int open_for = 1 << 20;
  int entered = 0;
  bool enter() override {
    if (entered == open_for) return false;
    ++entered;
    return true;
  }
  void leave() override {}
};

class RowsAsTold : public testing::Test, public ChannelSource {
 protected:
  static constexpr uint32_t kRows = 6;

  void SetUp() override {
    for (int p = 0; p < 2; ++p) recvs_.push_back(std::make_unique<ToldRecv>());
  }
  Result<SendChannel*> send_channel(int, uint32_t) override { return &send_; }
  Result<RecvChannel*> recv_channel(int peer, uint32_t) override {
    return recvs_[static_cast<size_t>(peer)].get();
  }
  ToldRecv& from(int peer) { return *recvs_[static_cast<size_t>(peer)]; }

  // Message rows of `hidden` floats, row i of peer p holding 10 p + i.
  void fill_messages(size_t hidden, const std::vector<size_t>& cuts) {
    hidden_ = hidden;
    for (int p = 0; p < 2; ++p) {
      ToldRecv& recv = from(p);
      recv.cuts = cuts;
      recv.bytes.resize(kRows * hidden * 4);
      for (size_t i = 0; i < kRows * hidden; ++i) {
        store_value(recv.bytes.data() + 4 * i, DataType::kFloat32, value(p, i / hidden));
      }
    }
  }
  static float value(int peer, size_t row) {
    return static_cast<float>(10 * peer + static_cast<int>(row));
  }

  // Ranks 0 and 1 send this rank, 2, kRows rows; copied: row i of the output is row i / 2 of rank
  // 0's message; else summed with those of rank 1's. The sums go to rank 0.
  void start(bool copies) {
    job_ = {};
    job_.set(Buffer::kScratch, 2 * kRows, hidden_ * 4, DataType::kFloat32);
    job_.set(Buffer::kOutput, 2 * kRows, hidden_ * 4, DataType::kFloat32);
    job_.schedules.resize(3);
    Schedule& schedule = job_.schedules[2];
    RowBuilder b(3, 2, &schedule);
    b.begin(copies ? RowKernel::kCopy : RowKernel::kSum);
    const uint32_t x = b.input(b.run(Buffer::kScratch, 0, kRows), 0);
    const uint32_t y = copies ? x : b.input(b.run(Buffer::kScratch, kRows, kRows), 1);
    b.output(b.run(Buffer::kOutput, 0, 2 * kRows), 0);
    for (uint32_t i = 0; i < 2 * kRows; ++i) {
      if (copies) b.row({{x, i / 2, 1}});
      if (!copies) b.row({{x, i % kRows, 1}, {y, kRows - 1 - i % kRows, 1}});
    }
    b.end();
    memory_ = row_memory(job_, 2);
    before_ = memory_;
    plan_ = std::make_unique<Plan>(Capabilities{64, SIZE_MAX, 64, true, false, true, {}});
    const Status bound = plan_->bind_rows(schedule, job_.layout, *this);
    ASSERT_TRUE(bound.ok()) << bound.text();
    run_.start(plan_.get(), buffers_of(memory_), kHeader, {}, &host(), &gate_);
  }

  void expect_result(bool copies) const {
    const std::vector<uint8_t>& out = memory_[static_cast<size_t>(Buffer::kOutput)];
    // Of long rows some numbers will do.
    for (size_t i = 0; i < 2 * kRows * hidden_; i += 1 + hidden_ / 1000) {
      const size_t row = i / hidden_;
      const float want =
          copies ? value(0, row / 2) : value(0, row % kRows) + value(1, kRows - 1 - row % kRows);
      ASSERT_EQ(load_value(out.data() + 4 * i, DataType::kFloat32), want) << "row " << row;
    }
  }
  size_t written_rows() const {
    constexpr auto kOut = static_cast<size_t>(Buffer::kOutput);
    size_t rows = 0;
    for (size_t i = 0; i < size_t{2} * kRows; ++i) {
      const size_t at = i * hidden_ * 4;
      rows += std::memcmp(&memory_[kOut][at], &before_[kOut][at], hidden_ * 4) != 0 ? 1 : 0;
    }
    return rows;
  }
  // Nothing moves any more, whoever asks, and nothing went out.
  void expect_over() {
    const RowMemory then = memory_;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
    EXPECT_TRUE(memory_ == then);
    EXPECT_EQ(send_.posted(), 0u);
  }

  size_t hidden_ = 0;
  TakingSend send_;
  std::vector<std::unique_ptr<ToldRecv>> recvs_;
  RowCase job_;
  RowMemory memory_;
  RowMemory before_;
  std::unique_ptr<Plan> plan_;
  ClosingGate gate_;
  Execution run_;
};

TEST_F(RowsAsTold, PartsThatCutRows) {
  for (const bool copies : {true, false}) {
    const size_t messages = copies ? 1 : 2;
    // In one piece, whole rows, across rows, in the middle of numbers, byte by byte.
    for (const auto& [cuts, cut_rows] :
         std::vector<std::pair<std::vector<size_t>, size_t>>{{{7 * 4 * kRows}, 0},
                                                             {{28, 56}, 0},
                                                             {{40, 1000}, 1},
                                                             {{13, 15, 31, 0, 25, 1000}, 2},
                                                             {{0, 28, 0, 0, 1000}, 0},
                                                             {{1}, 6}}) {
      SCOPED_TRACE(testing::Message() << copies << ", " << cuts[0]);
      recvs_.clear();
      send_ = TakingSend();
      SetUp();
      fill_messages(7, cuts);
      start(copies);
      ASSERT_EQ(run_.advance(), Execution::State::kDone);
      expect_result(copies);
      EXPECT_EQ(run_.traffic().staged_bytes, messages * cut_rows * 28);
      EXPECT_EQ(send_.posted(), 1u);
    }
  }
}

TEST_F(RowsAsTold, FetchedRowsGoStraightToTheOutput) {
  fill_messages(100, {1200});
  from(0).fetched = true;
  start(true);
  const RowMemory before = memory_;
  ASSERT_EQ(run_.advance(), Execution::State::kDone);
  expect_result(true);
  EXPECT_EQ(from(0).fetches.size(), size_t{kRows}) << "each row once";
  EXPECT_EQ(run_.traffic().staged_bytes, size_t{kRows} * 400);
  EXPECT_EQ(memory_[static_cast<size_t>(Buffer::kScratch)],
            before[static_cast<size_t>(Buffer::kScratch)]);
}

TEST_F(RowsAsTold, FetchedSumsLandFirst) {
  fill_messages(100, {1200});
  from(1).fetched = true;
  start(false);
  ASSERT_EQ(run_.advance(), Execution::State::kDone);
  expect_result(false);
  EXPECT_EQ(from(1).fetches, std::vector<size_t>{kRows * 400}) << "neighbours in one";
  EXPECT_EQ(run_.traffic().staged_bytes, size_t{kRows} * 400);
}

// Stretches: the gate is left about every 2 MiB.
TEST_F(RowsAsTold, LongStepsLeaveTheGateInBetween) {
  for (const bool fetched : {false, true}) {
    for (const bool copies : {true, false}) {
      recvs_.clear();
      SetUp();
      fill_messages(size_t{1} << 18, {1 << 20});  // a MiB a row
      from(0).fetched = from(1).fetched = fetched;
      gate_.entered = 0;
      start(copies);
      ASSERT_EQ(run_.advance(), Execution::State::kDone);
      expect_result(copies);
      EXPECT_GE(gate_.entered, copies ? 6 : 12);
      EXPECT_LE(gate_.entered, copies ? 13 : 20);
    }
  }
}

TEST_F(RowsAsTold, TheGateClosesInBetween) {
  fill_messages(size_t{1} << 18, {1 << 20});
  gate_.open_for = 3;
  start(true);
  EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
  EXPECT_GT(written_rows(), 0u);
  EXPECT_LT(written_rows(), size_t{2} * kRows);
  expect_over();
  EXPECT_EQ(from(0).received(), 0u);
}

TEST_F(RowsAsTold, AFetchThatFails) {
  for (const bool copies : {true, false}) {
    for (const int which : {0, 2}) {
      if (!copies && which > 0) continue;
      recvs_.clear();
      SetUp();
      fill_messages(100, {1200});
      from(0).fetched = true;
      from(0).fail_fetch = which;
      start(copies);
      EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
      EXPECT_EQ(written_rows(), copies ? 2 * static_cast<size_t>(which) : 0);
      expect_over();
      int peer = -1;
      const Status health = run_.health(&peer);
      EXPECT_EQ(health.code(), Code::kRemoteError);
      EXPECT_EQ(peer, 0);
      EXPECT_NE(health.text().find("rank 0: "), std::string::npos) << health.text();
    }
  }
}

TEST_F(RowsAsTold, AFetchThatFailsForAnotherReason) {
  fill_messages(100, {1200});
  from(0).fetched = from(0).own_fault = true;
  from(0).fail_fetch = 1;
  start(true);
  EXPECT_EQ(run_.advance(), Execution::State::kFailed);
  EXPECT_NE(run_.failure().text().find("cannot read"), std::string::npos);
  EXPECT_EQ(send_.posted(), 0u);
}

TEST_F(RowsAsTold, TheChannelHasEndedUnderTheKernel) {
  fill_messages(100, {1200});
  from(1).fail_release = true;
  start(false);
  EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
  expect_over();
}

TEST_F(RowsAsTold, APeerThatLeavesIsNamed) {
  fill_messages(100, {1200});
  from(1).here = false;
  start(false);
  EXPECT_EQ(run_.advance(), Execution::State::kBlocked);
  EXPECT_EQ(run_.waiting_for(), 1);
  int peer = -1;
  EXPECT_TRUE(run_.health(&peer).ok());
  from(1).end();
  const Status health = run_.health(&peer);
  EXPECT_EQ(health.code(), Code::kRemoteError);
  EXPECT_EQ(peer, 1);
  EXPECT_NE(health.text().find("rank 1: it has left"), std::string::npos) << health.text();
  EXPECT_EQ(written_rows(), 0u);
}

TEST_F(RowsAsTold, MessagesOfAnotherLength) {
  for (const int wrong : {0, 1}) {
    recvs_.clear();
    SetUp();
    fill_messages(100, {1200});
    from(wrong).bytes.resize(2399);
    start(false);
    EXPECT_EQ(run_.advance(), Execution::State::kMismatch);
    EXPECT_EQ(run_.surprise().peer, wrong);
    EXPECT_EQ(run_.surprise().bytes, 2399u);
    EXPECT_EQ(run_.surprise().expected_bytes, 2400u);
    EXPECT_EQ(written_rows(), 0u);
  }
}

TEST_F(RowsAsTold, MessagesOfAnotherOperation) {
  fill_messages(100, {1200});
  from(1).has_header = false;
  start(false);
  EXPECT_EQ(run_.advance(), Execution::State::kMismatch);
  EXPECT_EQ(run_.surprise().peer, 1);
  EXPECT_FALSE(run_.surprise().has_header);
  EXPECT_EQ(written_rows(), 0u);
}

// Over inproc, with and without view.
TEST(RowsMismatch, SenderAndReceiverDisagreeAboutRows) {
  for (const bool no_view : {false, true}) {
    FaultOptions options;
    options.hide_view = no_view;
    RowTeam team(2, options);
    RowCase job;
    job.set(Buffer::kInput, 8, 1000);
    job.set(Buffer::kOutput, 8, 1000);
    job.schedules.resize(2);
    RowBuilder a(2, 0, &job.schedules[0]);
    a.send(1, a.run(Buffer::kInput, 0, 7));
    RowBuilder b(2, 1, &job.schedules[1]);
    b.begin(RowKernel::kCopy);
    const uint32_t message = b.input(b.run(Buffer::kOutput, 0, 8), 0);
    b.output(b.run(Buffer::kOutput, 0, 1));
    b.row({{message, 7, 1}});
    b.end();
    team.start(job);
    ASSERT_EQ(team.execution(0).advance(), Execution::State::kBlocked);
    ASSERT_EQ(team.execution(1).advance(), Execution::State::kMismatch);
    EXPECT_EQ(team.execution(1).surprise().bytes, 7000u);
    EXPECT_EQ(team.execution(1).surprise().expected_bytes, 8000u);
    EXPECT_EQ(team.memory(1), row_memory(job, 1));
  }
}

}  // namespace
}  // namespace tutti
