// The board of a communicator: announced calls, failures, presence; and how members find it.
#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <unistd.h>
#include <vector>

#include "comm/runtime/inproc_control.h"

namespace tutti {
namespace {

std::vector<std::unique_ptr<InprocControl>> make_controls(int n) {
  auto board = std::make_shared<Board>(n);
  std::vector<std::unique_ptr<InprocControl>> all;
  for (int r = 0; r < n; ++r) all.push_back(std::make_unique<InprocControl>(board, r));
  return all;
}

CallRecord record(uint64_t sequence) {
  return {sequence, sequence * 3 + 1, sequence * 5, static_cast<uint32_t>(sequence),
          -7,       sequence % 4};
}

TEST(Control, LastCallsAreRemembered) {
  const auto controls = make_controls(2);
  EXPECT_FALSE(controls[0]->last_call_of(1).has_value());
  EXPECT_FALSE(controls[0]->call_of(1, 0).has_value());
  for (uint64_t s = 0; s < 100; ++s) {
    controls[1]->publish(record(s));
    const auto last = controls[0]->last_call_of(1);
    ASSERT_TRUE(last.has_value());
    EXPECT_EQ(last->sequence, s);
    EXPECT_EQ(last->fingerprint, s * 3 + 1);
    EXPECT_EQ(last->count, s * 5);
    EXPECT_EQ(last->root, -7);
    EXPECT_EQ(last->algorithm, s % 4);
    const uint64_t oldest = s < 31 ? 0 : s - 31;
    EXPECT_TRUE(controls[0]->call_of(1, oldest).has_value());
    EXPECT_FALSE(controls[0]->call_of(1, s + 1).has_value());
    EXPECT_TRUE(oldest == 0 || !controls[0]->call_of(1, oldest - 1).has_value());
  }
  EXPECT_FALSE(controls[0]->last_call_of(0).has_value());
}

// A reader never sees half of one call and half of another.
TEST(Control, ReadersSeeWholeRecords) {
  const auto controls = make_controls(2);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint64_t s = 0; s < 100'000; ++s) controls[1]->publish(record(s));
    stop = true;
  });
  uint64_t seen = 0;
  while (!stop) {
    const auto last = controls[0]->last_call_of(1);
    if (!last.has_value()) continue;
    ++seen;
    ASSERT_EQ(last->fingerprint, last->sequence * 3 + 1);
    ASSERT_EQ(last->count, last->sequence * 5);
    ASSERT_EQ(last->what, static_cast<uint32_t>(last->sequence));
    ASSERT_EQ(last->root, -7);
    ASSERT_EQ(last->algorithm, last->sequence % 4);
  }
  writer.join();
}

TEST(Control, FirstFailureCounts) {
  const auto controls = make_controls(3);
  EXPECT_FALSE(controls[0]->failed());
  EXPECT_FALSE(controls[0]->failure().has_value());
  controls[2]->fail(Code::kTimeout, "late");
  controls[1]->fail(Code::kAborted, "later still");
  for (const auto& c : controls) {
    EXPECT_TRUE(c->failed());
    ASSERT_TRUE(c->failure().has_value());
    EXPECT_EQ(c->failure()->rank, 2);
    EXPECT_EQ(c->failure()->code, Code::kTimeout);
    EXPECT_EQ(c->failure()->text, "late");
  }
}

TEST(Control, Presence) {
  auto board = std::make_shared<Board>(3);
  const InprocControl first(board, 0);
  EXPECT_TRUE(first.present(0));
  EXPECT_FALSE(first.present(1));
  const InprocControl second(board, 1);
  EXPECT_TRUE(first.present(1));
  EXPECT_FALSE(first.present(2));
}

TEST(Meetings, MembersFindTheSameBoard) {
  Meetings meetings;
  const auto a = meetings.join(5, 2, false);
  const auto b = meetings.join(5, 2, false);
  const auto other = meetings.join(6, 2, false);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, other);
}

TEST(Meetings, ANewMeetingStartsAfresh) {
  Meetings meetings;
  auto a = meetings.join(5, 2, false);
  InprocControl(a, 0).fail(Code::kTimeout, "nobody came");
  a.reset();
  EXPECT_FALSE(InprocControl(meetings.join(5, 2, false), 1).failed());
}

// Where all members are sure to come, what the first ones left behind waits for the last.
TEST(Meetings, BoardWaitsForAllWhoCome) {
  Meetings meetings;
  InprocControl(meetings.join(5, 3, true), 0).fail(Code::kAborted, "gone already");
  { const InprocControl second(meetings.join(5, 3, true), 1); }
  std::weak_ptr<Board> board;
  {
    const auto last = meetings.join(5, 3, true);
    board = last;
    const InprocControl third(last, 2);
    EXPECT_TRUE(third.failed());
    EXPECT_TRUE(third.present(0) && third.present(1));
  }
  EXPECT_TRUE(board.expired()) << "and then it goes";
}

}  // namespace
}  // namespace tutti
