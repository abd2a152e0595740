// How often a fused two-shot touches memory, and how an operation ends that meets another one.
#include <gtest/gtest.h>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "comm/schedule/builder.h"
#include "comm/schedule/fuse.h"
#include "tests/exec/world.h"

namespace tutti {
namespace {

constexpr size_t kBytes = 1 << 20;
constexpr size_t kCount = kBytes / sizeof(float);
constexpr size_t kHalf = kBytes / 2;
constexpr int kMostPasses = 1000;
constexpr float kMark = -7;

Schedule all_reduce(const char* algorithm, int nranks, int rank) {
  Params params;
  params.nranks = nranks;
  params.rank = rank;
  Schedule schedule;
  make_schedule(*find_algorithm(Collective::kAllReduce, algorithm), params, &schedule);
  return schedule;
}

// One rank of an all-reduce (or any collective with equal buffers) of f32.
class Side {
 public:
  Side(World& world, const Schedule& schedule, size_t count)
      : input_(count), output_(count, kMark) {
    for (size_t i = 0; i < count; ++i) {
      input_[i] = static_cast<float>(i % 1000 + static_cast<size_t>(schedule.rank));
    }
    const int rank = schedule.rank;
    const DataLayout layout({1, count, {}, {}}, {1, count, {}, {}}, schedule.shape.chunks_per_block,
                            sizeof(float), 0, 0);
    plan_ = std::move(
        Plan::bind(schedule, layout, world.capabilities(rank), world.channels(rank)).value());
    scratch_.resize(plan_->scratch_bytes());
  }

  void start(const OpHeader& header) {
    const Arithmetic how{DataType::kFloat32, ReduceOp::kSum, 0, Stores::kCached};
    execution_.start(plan_.get(), {input_.data(), output_.data(), scratch_.data()}, header, how,
                     &host(), &gate_);
  }
  Execution& execution() { return execution_; }
  const std::vector<float>& output() const { return output_; }
  bool untouched() const { return output_ == std::vector<float>(output_.size(), kMark); }

 private:
  std::vector<float> input_;
  std::vector<float> output_;
  std::vector<char> scratch_;
  std::unique_ptr<Plan> plan_;
  WatchedGate gate_;
  Execution execution_;
};

FaultOptions without(bool view, bool place) {
  FaultOptions o;
  o.hide_view = view;
  o.hide_place = place;
  return o;
}

struct Pair {
  explicit Pair(const FaultOptions& options, size_t count0 = kCount, size_t count1 = kCount)
      : world(2, [&](int) { return options; }),
        a(world, all_reduce("two_shot", 2, 0), count0),
        b(world, all_reduce("two_shot", 2, 1), count1) {}

  // Advances both until neither is blocked, or for as many passes as could help.
  void run() {
    for (int pass = 0; pass < kMostPasses; ++pass) {
      if (state_a == Execution::State::kBlocked) state_a = a.execution().advance();
      if (state_b == Execution::State::kBlocked) state_b = b.execution().advance();
    }
  }

  World world;
  Side a;
  Side b;
  Execution::State state_a = Execution::State::kBlocked;
  Execution::State state_b = Execution::State::kBlocked;
};

void expect_traffic(const FaultOptions& options, size_t loaded, size_t stored) {
  Pair pair(options);
  const OpHeader header{1, 0, 99};
  pair.a.start(header);
  pair.b.start(header);
  pair.run();
  ASSERT_EQ(pair.state_a, Execution::State::kDone);
  ASSERT_EQ(pair.state_b, Execution::State::kDone);
  for (Side* side : {&pair.a, &pair.b}) {
    EXPECT_EQ(side->execution().traffic().bytes_loaded, loaded);
    EXPECT_EQ(side->execution().traffic().bytes_stored, stored);
    for (size_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(side->output()[i], static_cast<float>(2 * (i % 1000) + 1)) << i;
    }
  }
}

// Both halves are read where they lie and both results written where they are wanted.
TEST(TrafficTest, OnePassOverMemory) { expect_traffic(FaultOptions(), 2 * kHalf, 2 * kHalf); }

// Each rank folds into its own memory and then fetches the other half.
TEST(TrafficTest, WithoutPlaceThereIsOneMoreCopy) {
  expect_traffic(without(false, true), 3 * kHalf, 2 * kHalf);
}

// The transport moves the contribution into scratch; the kernel still writes both results.
TEST(TrafficTest, WithoutViewTheKernelsDoTheSame) {
  expect_traffic(without(true, false), 2 * kHalf, 2 * kHalf);
}

// Rank 0 sends its input through rank 1 to the output of rank 2.
Schedule relay(int rank) {
  Params params;
  params.nranks = 3;
  params.rank = rank;
  Schedule schedule;
  Builder b(params, Collective::kAllReduce, {1, 1, 1, 1}, &schedule);
  const Place passing = Builder::scratch(0, Builder::input(0));
  if (rank == 0) b.send(1, Builder::input(0));
  if (rank == 1) {
    b.recv(0, passing);
    b.send(2, passing);
  }
  if (rank == 2) b.recv(1, Builder::output(0));
  fuse(&schedule);
  add_offers(&schedule);
  return schedule;
}

// What nobody reads here is written only where the peer wants it.
TEST(TrafficTest, ARelayCopiesOnce) {
  for (const bool no_place : {false, true}) {
    World world(3, [&](int) { return without(false, no_place); });
    std::vector<std::unique_ptr<Side>> sides;
    for (int r = 0; r < 3; ++r) sides.push_back(std::make_unique<Side>(world, relay(r), kCount));
    for (auto& side : sides) side->start({1, 0, 99});
    int done = 0;
    for (int pass = 0; pass < kMostPasses && done < 3; ++pass) {
      done = 0;
      // The last rank first, so that its offer is there in time.
      for (int r = 2; r >= 0; --r) {
        const auto state = sides[static_cast<size_t>(r)]->execution().advance();
        done += state == Execution::State::kDone ? 1 : 0;
      }
    }
    ASSERT_EQ(done, 3);
    EXPECT_EQ(sides[0]->execution().traffic().bytes_stored, 0u);
    EXPECT_EQ(sides[1]->execution().traffic().bytes_loaded, kBytes);
    EXPECT_EQ(sides[1]->execution().traffic().bytes_stored, kBytes);
    EXPECT_EQ(sides[2]->execution().traffic().bytes_stored, no_place ? kBytes : 0);
    EXPECT_EQ(sides[2]->output()[999], 999.0f);
    EXPECT_TRUE(sides[1]->untouched());
  }
}

// A peer that takes the operation for a shorter one goes on to its next call: the header that comes
// where none belongs tells, and so does the one that is missing.
TEST(MismatchTest, AHeaderInTheMiddleOfAnOperation) {
  World world(2);
  Side a(world, all_reduce("two_shot", 2, 0), kCount);
  Side b(world, all_reduce("one_shot", 2, 1), kCount / 2);
  a.start({1, 4, 99});
  b.start({1, 4, 99});
  Execution::State state_b = Execution::State::kBlocked;
  for (int pass = 0; pass < kMostPasses && state_b == Execution::State::kBlocked; ++pass) {
    ASSERT_EQ(a.execution().advance(), Execution::State::kBlocked);
    state_b = b.execution().advance();
  }
  ASSERT_EQ(state_b, Execution::State::kDone);
  EXPECT_EQ(a.execution().waiting_for(), 1);
  b.start({1, 5, 99});
  EXPECT_EQ(b.execution().advance(), Execution::State::kMismatch);
  EXPECT_FALSE(b.execution().surprise().has_header);
  EXPECT_EQ(a.execution().advance(), Execution::State::kMismatch);
  EXPECT_TRUE(a.execution().surprise().has_header);
  EXPECT_EQ(a.execution().surprise().header.sequence, 5u);
}

struct Meeting {
  const char* name;
  OpHeader other;
  size_t other_count;
};

void PrintTo(const Meeting& meeting, std::ostream* out) { *out << meeting.name; }

class MeetingTest : public testing::TestWithParam<Meeting> {};

TEST_P(MeetingTest, EndsWithASurpriseAndNothingWritten) {
  const OpHeader header{1, 4, 99};
  const Meeting& meeting = GetParam();
  for (const bool no_view : {false, true}) {
    for (const bool no_place : {false, true}) {
      SCOPED_TRACE(testing::Message() << no_view << no_place);
      Pair pair(without(no_view, no_place), kCount, meeting.other_count);
      pair.a.start(header);
      pair.b.start(meeting.other);
      pair.run();
      ASSERT_EQ(pair.state_a, Execution::State::kMismatch);
      ASSERT_EQ(pair.state_b, Execution::State::kMismatch);
      EXPECT_TRUE(pair.a.untouched());
      EXPECT_TRUE(pair.b.untouched());
      const Execution::Surprise& got = pair.a.execution().surprise();
      EXPECT_EQ(got.peer, 1);
      EXPECT_TRUE(got.has_header);
      EXPECT_EQ(got.header.comm_epoch, meeting.other.comm_epoch);
      EXPECT_EQ(got.header.sequence, meeting.other.sequence);
      EXPECT_EQ(got.header.fingerprint, meeting.other.fingerprint);
      EXPECT_EQ(got.expected_bytes, kHalf);
      EXPECT_EQ(got.bytes, meeting.other_count * sizeof(float) / 2);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Meetings, MeetingTest,
                         testing::Values(Meeting{"communicator", {2, 4, 99}, kCount},
                                         Meeting{"sequence", {1, 5, 99}, kCount},
                                         Meeting{"fingerprint", {1, 4, 98}, kCount},
                                         Meeting{"longer", {1, 4, 99}, 2 * kCount},
                                         Meeting{"shorter", {1, 4, 99}, kCount / 2}),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace tutti
