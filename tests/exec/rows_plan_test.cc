// What a plan of rows knows: parts, loans, and what it costs to bind one again.
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "comm/schedule/row_builder.h"
#include "tests/exec/world.h"

namespace tutti {
namespace {

RowLayout layout_of(size_t bytes, size_t stride) {
  RowLayout layout;
  for (RowFormat& format : layout.formats) format = {bytes, stride, DataType::kUint8};
  return layout;
}

// Sends rows 1, 2, 3, 7, 8 and 5.
Schedule sender() {
  Schedule schedule;
  RowBuilder b(2, 0, &schedule);
  b.send(1, b.list(Buffer::kInput, std::vector<uint32_t>{1, 2, 3, 7, 8, 5}));
  return schedule;
}

TEST(RowPlan, NeighboursAreOnePart) {
  World world(2);
  Plan plan(world.capabilities(0));
  const Schedule schedule = sender();
  ASSERT_TRUE(plan.bind_rows(schedule, layout_of(10, 10), world.channels(0)).ok());
  ASSERT_EQ(plan.parts.size(), 3u);
  EXPECT_EQ(plan.parts[0].offset, 10u);
  EXPECT_EQ(plan.parts[0].bytes, 30u);
  EXPECT_EQ(plan.parts[1].offset, 70u);
  EXPECT_EQ(plan.parts[1].bytes, 20u);
  EXPECT_EQ(plan.parts[2].offset, 50u);
  // Gaps between rows keep them apart.
  ASSERT_TRUE(plan.bind_rows(schedule, layout_of(10, 12), world.channels(0)).ok());
  ASSERT_EQ(plan.parts.size(), 6u);
  EXPECT_EQ(plan.parts[4].offset, 96u);
  EXPECT_EQ(plan.parts[4].bytes, 10u);
  EXPECT_EQ(plan.iovecs.size(), 6u);
}

TEST(RowPlan, MoreThanTheTransportTakes) {
  World world(2);
  Capabilities can = world.capabilities(0);
  can.max_parts = 2;
  Plan few_parts(can);
  const Schedule schedule = sender();
  Status status = few_parts.bind_rows(schedule, layout_of(10, 10), world.channels(0));
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.text().find("6 rows of 10 bytes"), std::string::npos) << status.text();
  EXPECT_NE(status.text().find("3 parts"), std::string::npos) << status.text();
  EXPECT_NE(status.text().find("in 2 parts"), std::string::npos) << status.text();
  can.max_parts = 3;
  can.max_message_bytes = 59;
  Plan short_messages(can);
  status = short_messages.bind_rows(schedule, layout_of(10, 10), world.channels(0));
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.text().find("takes 59 bytes"), std::string::npos) << status.text();
}

TEST(RowPlan, ChannelsThatCannotBeOpened) {
  class NoChannels final : public ChannelSource {
    Result<SendChannel*> send_channel(int, uint32_t) override {
      return error(Code::kRemoteError, "no way out");
    }
    Result<RecvChannel*> recv_channel(int, uint32_t) override {
      return error(Code::kRemoteError, "no way in");
    }
  } none;
  Plan plan(Capabilities{});
  const Status status = plan.bind_rows(sender(), layout_of(1, 1), none);
  EXPECT_EQ(status.code(), Code::kRemoteError);
}

// One copy of rows 0, 1 and 2 of the input to `rows` of scratch.
void write_scratch(RowBuilder& b, std::vector<uint32_t> rows) {
  b.begin(RowKernel::kCopy);
  const uint32_t source = b.input(b.run(Buffer::kInput, 0, 3));
  b.output(b.list(Buffer::kScratch, rows));
  for (uint32_t i = 0; i < rows.size(); ++i) b.row({{source, i, 1}});
  b.end();
}

TEST(RowPlan, OnlyTheLoansOnWhatIsWritten) {
  World world(3);
  Schedule schedule;
  RowBuilder b(3, 0, &schedule);
  write_scratch(b, {0, 1, 2});                                       // 0
  b.send(1, b.run(Buffer::kScratch, 0, 1));                          // 1
  b.send(2, b.run(Buffer::kScratch, 1, 1));                          // 2
  b.send(1, b.list(Buffer::kScratch, std::vector<uint32_t>{0, 1}));  // 3
  b.send(1, b.run(Buffer::kInput, 0, 3));                            // 4
  write_scratch(b, {2, 5});                                          // 5
  write_scratch(b, {0});                                             // 6
  write_scratch(b, {1, 0});                                          // 7
  write_scratch(b, {1, 0});                                          // 8
  Plan plan(world.capabilities(0));
  // Twice: the second time into the memory of the first.
  for (int turn = 0; turn < 2; ++turn) {
    ASSERT_TRUE(plan.bind_rows(schedule, layout_of(8, 8), world.channels(0)).ok());
    const auto lent = [&](size_t step) {
      std::string text;
      for (uint32_t i = 0; i < plan.steps[step].num_lent; ++i) {
        const Lent& loan = plan.lent[plan.steps[step].first_lent + i];
        text += std::to_string(plan.sends[loan.channel].peer) + ":" + std::to_string(loan.message) +
                " ";
      }
      return text;
    };
    EXPECT_EQ(lent(0), "");
    EXPECT_EQ(lent(4), "") << "nothing is written by a send";
    EXPECT_EQ(lent(5), "") << "rows that were never lent";
    EXPECT_EQ(lent(6), "1:1 ") << "the last message of the channel";
    EXPECT_EQ(lent(7), "1:1 2:0 ") << "row 1 is lent to both, row 0 is back";
    EXPECT_EQ(lent(8), "");
  }
}

// A receive that would land there waits too.
TEST(RowPlan, LandingIsWriting) {
  World world(2);
  Schedule schedule;
  RowBuilder b(2, 0, &schedule);
  write_scratch(b, {0, 1, 2});
  b.send(1, b.run(Buffer::kScratch, 0, 3));
  b.begin(RowKernel::kCopy);
  const uint32_t message = b.input(b.run(Buffer::kScratch, 2, 1), 1);
  b.output(b.run(Buffer::kOutput, 0, 1));
  b.row({{message, 0, 1}});
  b.end();
  Plan plan(world.capabilities(0));
  ASSERT_TRUE(plan.bind_rows(schedule, layout_of(8, 8), world.channels(0)).ok());
  EXPECT_EQ(plan.steps[2].num_lent, 1u);
}

TEST(RowPlan, BindingAgainAllocatesNothing) {
  World world(2);
  Schedule schedule;
  RowBuilder b(2, 0, &schedule);
  std::vector<uint32_t> rows;
  for (uint32_t i = 0; i < 400; ++i) rows.push_back(2 * i);
  b.send(1, b.list(Buffer::kInput, rows));
  b.begin(RowKernel::kSum);
  const uint32_t message = b.input(b.list(Buffer::kScratch, rows), 1);
  b.output(b.list(Buffer::kOutput, rows));
  for (uint32_t i = 0; i < 400; ++i) b.row({{message, i, 1}, {message, 399 - i, 1}});
  b.end();
  RowLayout layout = layout_of(8, 8);
  for (RowFormat& format : layout.formats) format.dtype = DataType::kFloat32;
  Plan plan(world.capabilities(0));
  ASSERT_TRUE(plan.bind_rows(schedule, layout, world.channels(0)).ok());
  const iovec* iovecs = plan.iovecs.data();
  const Extent* parts = plan.parts.data();
  const char* const* at = plan.row_tables.at.data();
  EXPECT_GE(plan.row_tables.at.size(), 400u);
  for (int turn = 0; turn < 3; ++turn) {
    ASSERT_TRUE(plan.bind_rows(schedule, layout, world.channels(0)).ok());
    EXPECT_EQ(plan.iovecs.data(), iovecs);
    EXPECT_EQ(plan.parts.data(), parts);
    EXPECT_EQ(plan.row_tables.at.data(), at);
    EXPECT_EQ(plan.sends.size(), 1u);
    EXPECT_EQ(plan.sends[0].per_round, 1u);
    EXPECT_EQ(plan.recvs[0].per_round, 1u);
  }
}

}  // namespace
}  // namespace tutti
