// Schedules with rows: right ones pass, and what may and may not coincide in one step.
#include <gtest/gtest.h>

#include "tests/verify/row_group.h"

namespace tutti {
namespace {

using Kind = Defect::Kind;

uint32_t least_slots(const RowGroup& group) {
  const auto schedule_of = [&](int rank, Schedule* out) {
    *out = group.ranks[static_cast<size_t>(rank)];
  };
  const MinimumSlots found =
      minimum_slots_of_rows(static_cast<int>(group.ranks.size()), schedule_of, group.contract, 8);
  EXPECT_FALSE(found.defect) << describe(*found.defect);
  return found.slots;
}

TEST(Rows, RightOnesPass) {
  EXPECT_TRUE(passes(dispatch()));
  EXPECT_TRUE(passes(combine()));
  EXPECT_TRUE(passes(combine(true), 2));
  EXPECT_TRUE(passes(forward()));
  EXPECT_TRUE(passes(quantised(), 2));
  EXPECT_TRUE(passes(nested()));
}

TEST(Rows, SmallestNumberOfSlots) {
  EXPECT_EQ(least_slots(dispatch()), 1u);
  EXPECT_EQ(least_slots(combine()), 1u);
  // Two partial sums are sent to every rank before anything is received.
  EXPECT_EQ(least_slots(combine(true)), 2u);
  EXPECT_TRUE(fails(combine(true), Kind::kDeadlock, 1));
}

// Without a contract all is checked but what the outputs hold.
TEST(Rows, NothingPromised) {
  for (const RowGroup& group : {dispatch(), combine(), forward(), quantised(), nested()}) {
    const auto schedule_of = [&](int rank, Schedule* out) {
      *out = group.ranks[static_cast<size_t>(rank)];
    };
    const auto found = verify(static_cast<int>(group.ranks.size()), schedule_of, {64, 1});
    EXPECT_FALSE(found) << describe(*found);
  }
  RowGroup group = combine();
  std::swap(group.ranks[1].lanes[0].steps[0], group.ranks[1].lanes[0].steps[1]);
  const auto schedule_of = [&](int rank, Schedule* out) {
    *out = group.ranks[static_cast<size_t>(rank)];
  };
  const auto found = verify(kRanks, schedule_of, {64, 1});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kind, Kind::kUnwrittenRead);
}

TEST(Rows, DefectsSayWhatTheyAre) {
  RowGroup group = combine();
  // Rank 1's own partial sum of token 0, terms swapped.
  Rows& rows = group.ranks[1].rows;
  std::swap(rows.terms[2], rows.terms[3]);
  const auto found = check(group);
  ASSERT_TRUE(found);
  EXPECT_EQ(
      describe(*found),
      "reduction order: rank 1, lane 0, step 5, output[0]\n"
      "  step      recv_rows              sum biases 1 bias0{0} + 0:scratch{6} + scratch{1} + "
      "2:scratch{8} -> output{0} {(1:0 + 2:0 + 3:0)}\n"
      "  expected  (rank 1's bias0[0] + (rank 0's input[4] * 0.25 + rank 0's input[5] * 0.5) "
      "+ (rank 1's input[4] * 0.25 + rank 1's input[5] * 0.5) + (rank 2's input[4] * 0.25 + "
      "rank 2's input[5] * 0.5))\n"
      "  got       (rank 1's bias0[0] + (rank 0's input[4] * 0.25 + rank 0's input[5] * 0.5) "
      "+ (rank 1's input[5] * 0.5 + rank 1's input[4] * 0.25) + (rank 2's input[4] * 0.25 + "
      "rank 2's input[5] * 0.5))");
}

// One rank, one step, as `write` has it; nothing is promised.
RowGroup one_step(const std::function<void(RowBuilder&)>& write) {
  RowGroup group = write_rows(
      1, {{Buffer::kInput, 4}, {Buffer::kOutput, 4}, {Buffer::kScratch, 4}},
      [&](RowBuilder& b, int) {
        b.begin(RowKernel::kCopy);
        b.input(b.run(Buffer::kInput, 0, 4));
        b.output(b.run(Buffer::kScratch, 0, 4));
        for (uint32_t row = 0; row < 4; ++row) b.row({{0, row, 1}});
        b.end();
        write(b);
      },
      nullptr);
  group.contract.promise = nullptr;
  return group;
}

TEST(Rows, WritingWhatTheStepReads) {
  const auto shifted = [](uint32_t by) {
    return one_step([by](RowBuilder& b) {
      b.begin(RowKernel::kCopy);
      b.input(b.run(Buffer::kScratch, 0, 3));
      b.output(b.run(Buffer::kScratch, by, 3));
      for (uint32_t row = 0; row < 3; ++row) b.row({{0, row, 1}});
      b.end();
    });
  };
  EXPECT_TRUE(passes(shifted(0)));
  EXPECT_TRUE(fails(shifted(1), Kind::kForbiddenWrite));
  // A sum may grow where it lies, as long as no other row is made of what lay there.
  const auto grown = [](uint32_t other) {
    return one_step([other](RowBuilder& b) {
      b.begin(RowKernel::kSum);
      b.input(b.run(Buffer::kScratch, 0, 2));
      b.input(b.run(Buffer::kInput, 0, 2));
      b.output(b.run(Buffer::kScratch, 0, 2));
      b.row({{0, 0, 1}, {1, 0, 1}});
      b.row({{0, other, 1}, {1, 1, 1}});
      b.end();
    });
  };
  EXPECT_TRUE(passes(grown(1)));
  EXPECT_TRUE(fails(grown(0), Kind::kForbiddenWrite));
}

// Two ranks: rank 0 sends two rows, rank 1 takes them as `take` has it; its scratch holds its
// input.
RowGroup landing(const std::function<void(RowBuilder&)>& take) {
  RowGroup group = write_rows(
      2, {{Buffer::kInput, 4}, {Buffer::kOutput, 4}, {Buffer::kScratch, 4}},
      [&](RowBuilder& b, int rank) {
        if (rank == 0) {
          b.send(1, b.run(Buffer::kInput, 0, 2));
          return;
        }
        b.begin(RowKernel::kCopy);
        b.input(b.run(Buffer::kInput, 0, 4));
        b.output(b.run(Buffer::kScratch, 0, 4));
        for (uint32_t row = 0; row < 4; ++row) b.row({{0, row, 1}});
        b.end();
        take(b);
      },
      nullptr);
  group.contract.promise = nullptr;
  return group;
}

// Takes message and scratch row 0 to output rows `out`, the message landing in output rows `land`.
RowGroup landing_at(const std::vector<uint32_t>& land, const std::vector<uint32_t>& out,
                    Buffer where) {
  return landing([=](RowBuilder& b) {
    b.begin(RowKernel::kCopy);
    b.input(b.list(where, land), 0);
    b.input(b.run(Buffer::kScratch, 0, 1));
    b.output(b.list(Buffer::kOutput, out));
    b.row({{0, 0, 1}});
    b.row({{0, 1, 1}});
    b.row({{1, 0, 1}});
    b.end();
  });
}

TEST(Rows, WhereMessagesLand) {
  EXPECT_TRUE(passes(landing_at({0, 1}, {0, 1, 2}, Buffer::kOutput)));
  EXPECT_TRUE(passes(landing_at({2, 3}, {0, 1, 2}, Buffer::kScratch)));
  EXPECT_TRUE(passes(landing_at({3, 1}, {0, 1, 2}, Buffer::kOutput)));
  EXPECT_TRUE(fails(landing_at({1, 0}, {0, 1, 2}, Buffer::kOutput), Kind::kForbiddenWrite));
  EXPECT_TRUE(fails(landing_at({0, 2}, {0, 1, 2}, Buffer::kOutput), Kind::kForbiddenWrite));
  EXPECT_TRUE(fails(landing_at({0, 0}, {0, 1, 2}, Buffer::kOutput), Kind::kForbiddenWrite));
  EXPECT_TRUE(fails(landing_at({0, 1}, {0, 1, 2}, Buffer::kScratch), Kind::kForbiddenWrite));
  EXPECT_TRUE(fails(landing_at({0, 1}, {0, 1, 2}, Buffer::kInput), Kind::kForbiddenWrite));
}

// What landed is undefined where the step did not write it: the message may have stayed away.
TEST(Rows, LandingRowsAreUndefined) {
  const auto then_read = [](uint32_t row) {
    return landing([row](RowBuilder& b) {
      b.begin(RowKernel::kCopy);
      b.input(b.run(Buffer::kScratch, 2, 2), 0);
      b.output(b.run(Buffer::kOutput, 0, 1));
      b.row({{0, 1, 1}});
      b.end();
      b.begin(RowKernel::kCopy);
      b.input(b.run(Buffer::kScratch, 0, 4));
      b.output(b.run(Buffer::kOutput, 1, 1));
      b.row({{0, row, 1}});
      b.end();
    });
  };
  EXPECT_TRUE(passes(then_read(1)));
  EXPECT_TRUE(fails(then_read(2), Kind::kUnwrittenRead));
}

TEST(Rows, LanesNeedAnOrder) {
  RowGroup group = nested();
  Schedule& s = group.ranks[0];
  s.lanes.resize(2);
  Step last = s.lanes[0].steps.back();
  s.lanes[0].steps.pop_back();
  last.wait_lane = 0;
  last.wait_step = 0;
  s.lanes[1].steps.push_back(last);
  // Once: nothing keeps a second round of lane 0 from scratch that lane 1 still reads.
  EXPECT_FALSE(check(group, 1, 1));
  EXPECT_EQ(check(group, 1, 2)->kind, Kind::kRace);
  s.lanes[1].steps[0].wait_lane = kNoLane;
  EXPECT_TRUE(fails(group, Kind::kRace));
}

TEST(Rows, RefusesWhatIsOutOfRange) {
  const auto spoiled = [](const std::function<void(Schedule&)>& spoil) {
    RowGroup group = combine();
    spoil(group.ranks[1]);
    return group;
  };
  const auto step = [](Schedule& s, size_t i) -> Step& { return s.lanes[0].steps[i]; };
  const std::vector<std::function<void(Schedule&)>> spoils = {
      [](Schedule& s) { s.nranks = 2; }, [](Schedule& s) { s.rank = 0; },
      [](Schedule& s) { s.lanes.resize(5000); }, [](Schedule& s) { s.rows.sets.clear(); },
      [](Schedule& s) { s.rows.sets[0].first = 0xffffffff; },
      [](Schedule& s) { s.rows.sets[0].count = 0xffffffff; },
      [](Schedule& s) { s.rows.indices[0] = 12; },
      [](Schedule& s) { s.rows.indices[0] = 0xffffffff; },
      [](Schedule& s) { s.rows.programs[0].kernel = static_cast<RowKernel>(3); },
      [](Schedule& s) { s.rows.programs[0].kernel = RowKernel::kCopy; },
      [](Schedule& s) { s.rows.programs[0].kernel = RowKernel::kQuantise; },
      [](Schedule& s) { s.rows.programs[0].num_biases = 2; },
      [](Schedule& s) { s.rows.programs[0].first_end = 0xffffffff; },
      [](Schedule& s) { s.rows.programs[0].first_term = 0xffffffff; },
      [](Schedule& s) { s.rows.ends[0] = 0xffffffff; },
      [](Schedule& s) { s.rows.terms[0].input = 1; }, [](Schedule& s) { s.rows.terms[0].row = 2; },
      [&](Schedule& s) { step(s, 0).data_chunk = 100; },
      [&](Schedule& s) { step(s, 0).data_nchunks = 0xffffffff; },
      [&](Schedule& s) { step(s, 0).data_nchunks = 0; },
      [&](Schedule& s) { step(s, 0).op = static_cast<Op>(17); },
      [&](Schedule& s) { step(s, 0).op = Op::kCopy; },
      [&](Schedule& s) { step(s, 0).op = Op::kSend; },
      [&](Schedule& s) { step(s, 0).first = 0xffffffff; },
      [&](Schedule& s) { step(s, 0).n_out = 0xffff; }, [&](Schedule& s) { step(s, 0).n_out = 0; },
      [&](Schedule& s) { step(s, 0).flags = kFinal; },
      [&](Schedule& s) { step(s, 0).wait_lane = 1; },
      [&](Schedule& s) { s.inputs(step(s, 0))[0].buffer = static_cast<Buffer>(8); },
      [&](Schedule& s) { s.inputs(step(s, 0))[0].chunk = 0xffffffff; },
      [&](Schedule& s) { s.outputs(step(s, 0))[0].buffer = Buffer::kScratchSide; },
      [&](Schedule& s) { s.outputs(step(s, 1))[0].peer = 1; },
      [&](Schedule& s) { s.outputs(step(s, 1))[0].peer = 3; },
      [&](Schedule& s) { s.outputs(step(s, 1))[0].peer = -2; },
      [&](Schedule& s) { s.outputs(step(s, 1))[0].peer = kLocal; },
      // A bias that is a message.
      [&](Schedule& s) {
        s.inputs(step(s, 5))[0].buffer = Buffer::kScratch;
        s.inputs(step(s, 5))[0].peer = 0;
        s.inputs(step(s, 5))[1].peer = kLocal;
      },
      [&](Schedule& s) { s.inputs(step(s, 5))[3].peer = 0; },  // two messages of rank 0
  };
  for (size_t i = 0; i < spoils.size(); ++i) {
    EXPECT_TRUE(fails(spoiled(spoils[i]), Kind::kMalformed)) << "spoil " << i;
  }
}

}  // namespace
}  // namespace tutti
