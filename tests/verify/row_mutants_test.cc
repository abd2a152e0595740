// Mutants of schedules with rows: right ones spoiled in one place. The verifier must find each.
#include <algorithm>
#include <gtest/gtest.h>
#include <set>

#include "tests/verify/row_group.h"

namespace tutti {
namespace {

using Kind = Defect::Kind;
using Kinds = std::set<Kind>;

constexpr uint32_t kPlenty = 64;

size_t expect_caught(const RowGroup& group, const std::string& what, const Kinds& kinds) {
  const std::optional<Defect> found = check(group, kPlenty);
  if (!found) {
    ADD_FAILURE() << what << " was not caught\n" << text_of(group);
  } else {
    EXPECT_TRUE(kinds.count(found->kind) == 1) << what << " was taken for " << describe(*found);
  }
  return 1;
}

std::vector<RowGroup> right_ones() {
  return {dispatch(), combine(), combine(true), forward(), quantised(), nested()};
}

// Visits every step of every rank of every right group.
template <typename Visit>
void for_each_step(Visit visit) {
  for (const RowGroup& right : right_ones()) {
    for (size_t r = 0; r < right.ranks.size(); ++r) {
      for (const Step& step : right.ranks[r].lanes[0].steps) {
        const auto i = static_cast<size_t>(&step - right.ranks[r].lanes[0].steps.data());
        visit(right, r, i,
              "rank " + std::to_string(r) + " step " + std::to_string(i) + " " +
                  print_step(right.ranks[r], step));
      }
    }
  }
}

// The set of operand k of a step: a copy of its own, so that only this operand is spoiled.
RowSet& own_set(Schedule& s, const Step& step, size_t k) {
  Operand& o = s.operands[step.first + k];
  const RowSet old = s.rows.sets[o.chunk];
  const RowSet set{static_cast<uint32_t>(s.rows.indices.size()), old.count};
  for (uint32_t i = 0; i < old.count; ++i) {
    s.rows.indices.push_back(s.rows.indices[old.first + i]);
  }
  o.chunk = static_cast<uint32_t>(s.rows.sets.size());
  s.rows.sets.push_back(set);
  return s.rows.sets.back();
}

TEST(RowMutants, WrongRow) {
  size_t count = 0;
  for_each_step([&](const RowGroup& right, size_t r, size_t i, const std::string& where) {
    const Step& step = right.ranks[r].lanes[0].steps[i];
    for (size_t k = 0; k < size_t{step.n_in} + step.n_out; ++k) {
      const Operand& o = right.ranks[r].operands[step.first + k];
      const bool sends = step.op == Op::kSend;
      if (sends && k == 1) continue;
      // Another landing row apart from all else is as good.
      if (o.peer != kLocal && o.buffer == Buffer::kScratch) continue;
      for (uint32_t row = 0; row < right.ranks[r].rows.of(o.chunk).size(); ++row) {
        RowGroup group = right;
        Schedule& s = group.ranks[r];
        const RowSet set = own_set(s, step, k);
        ++s.rows.indices[set.first + row];
        if (sends) s.operands[step.first + 1].chunk = s.operands[step.first].chunk;
        // In dispatch a message may land in any row of the output that is left alone: what is lost
        // is what was promised of that row.
        count += expect_caught(group, "row + 1 in operand " + std::to_string(k) + " of " + where,
                               {Kind::kWrongResult, Kind::kMalformed, Kind::kForbiddenWrite,
                                Kind::kUnwrittenRead, Kind::kReductionOrder});
      }
    }
  });
  EXPECT_GT(count, 80u);
}

// Both sides agree on a row less: counts are right, a result is missing.
TEST(RowMutants, MissingRow) {
  RowGroup group = forward();
  Schedule& from = group.ranks[1];
  const Step& send = from.lanes[0].steps[1];
  --from.rows.sets[from.inputs(send)[0].chunk].count;
  Schedule& to = group.ranks[2];
  Step& take = to.lanes[0].steps[0];
  --to.rows.sets[to.inputs(take)[0].chunk].count;
  --to.rows.sets[to.outputs(take)[0].chunk].count;
  --take.data_nchunks;
  const auto found = check(group);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kind, Kind::kWrongResult);
  EXPECT_EQ(found->rank, 2);
  EXPECT_EQ(found->place, "output[1]");
  EXPECT_EQ(found->expected, "rank 0's input[3]");
  EXPECT_EQ(found->got, "nothing");
}

TEST(RowMutants, UnequalRowCounts) {
  size_t count = 0;
  for_each_step([&](const RowGroup& right, size_t r, size_t i, const std::string& where) {
    const Step& step = right.ranks[r].lanes[0].steps[i];
    if (step.op != Op::kSend) return;
    RowGroup group = right;
    Schedule& s = group.ranks[r];
    --own_set(s, step, 0).count;
    s.operands[step.first + 1].chunk = s.operands[step.first].chunk;
    count += expect_caught(group, "a row less in " + where, {Kind::kUnmatched});
  });
  EXPECT_GT(count, 20u);
}

TEST(RowMutants, DroppedStep) {
  size_t count = 0;
  for_each_step([&](const RowGroup& right, size_t r, size_t i, const std::string& where) {
    RowGroup group = right;
    auto& steps = group.ranks[r].lanes[0].steps;
    steps.erase(steps.begin() + static_cast<int64_t>(i));
    count += expect_caught(group, "dropped " + where,
                           {Kind::kUnmatched, Kind::kUnwrittenRead, Kind::kWrongResult});
  });
  EXPECT_GT(count, 40u);
}

// A row twice, another not at all.
TEST(RowMutants, DuplicateTerm) {
  size_t count = 0;
  for_each_step([&](const RowGroup& right, size_t r, size_t i, const std::string& where) {
    const Schedule& whole = right.ranks[r];
    const Step& step = whole.lanes[0].steps[i];
    if (step.op != Op::kRows) return;
    const RowProgram& program = whole.rows.programs[step.data_chunk];
    const uint32_t end = whole.rows.ends[program.first_end + step.data_nchunks - 1];
    for (uint32_t t = program.first_term + 1; t < end; ++t) {
      RowGroup group = right;
      auto& terms = group.ranks[r].rows.terms;
      terms[t] = {terms[t - 1].input, terms[t - 1].row, terms[t].weight};
      // Where messages land in their final rows, a copy of another row would fall on one of them.
      count += expect_caught(group, "term " + std::to_string(t) + " twice in " + where,
                             {Kind::kWrongResult, Kind::kForbiddenWrite});
    }
  });
  EXPECT_GT(count, 40u);
}

TEST(RowMutants, SwappedTerms) {
  size_t sums = 0, copies = 0;
  for_each_step([&](const RowGroup& right, size_t r, size_t i, const std::string& where) {
    const Schedule& whole = right.ranks[r];
    const Step& step = whole.lanes[0].steps[i];
    if (step.op != Op::kRows) return;
    const RowProgram& program = whole.rows.programs[step.data_chunk];
    const bool sum = program.kernel == RowKernel::kSum;
    const uint32_t end = whole.rows.ends[program.first_end + step.data_nchunks - 1];
    for (uint32_t t = program.first_term + 1; t < end; ++t) {
      // Terms of different sums: another sum, not another order.
      const auto ends = std::span(whole.rows.ends).subspan(program.first_end, step.data_nchunks);
      if (sum && std::find(ends.begin(), ends.end(), t) != ends.end()) continue;
      RowGroup group = right;
      std::swap(group.ranks[r].rows.terms[t - 1], group.ranks[r].rows.terms[t]);
      (sum ? sums : copies) += expect_caught(
          group, "terms swapped before " + std::to_string(t) + " in " + where,
          sum ? Kinds{Kind::kReductionOrder} : Kinds{Kind::kWrongResult, Kind::kForbiddenWrite});
    }
  });
  EXPECT_GT(sums, 40u);
  EXPECT_GT(copies, 15u);
}

TEST(RowMutants, Weights) {
  size_t count = 0;
  for_each_step([&](const RowGroup& right, size_t r, size_t i, const std::string& where) {
    const Step& step = right.ranks[r].lanes[0].steps[i];
    if (step.op != Op::kRows) return;
    if (!right.ranks[r].rows.programs[step.data_chunk].weighted) return;
    RowGroup group = right;
    RowProgram& program = group.ranks[r].rows.programs[step.data_chunk];
    program.weighted = false;
    count += expect_caught(group, "no weights in " + where, {Kind::kWrongResult});
    program.weighted = true;
    group.ranks[r].rows.terms[program.first_term].weight = 1;
    count += expect_caught(group, "a weight less in " + where, {Kind::kWrongResult});
    std::swap(group.ranks[r].rows.terms[program.first_term].weight,
              group.ranks[r].rows.terms[program.first_term + 1].weight);
    count += expect_caught(group, "another weight in " + where, {Kind::kWrongResult});
  });
  EXPECT_GT(count, 30u);
}

TEST(RowMutants, DroppedBias) {
  RowGroup group = combine();
  Schedule& s = group.ranks[1];
  for (RowProgram& program : s.rows.programs) program.num_biases = 0;
  EXPECT_TRUE(fails(group, Kind::kWrongResult));
}

TEST(RowMutants, FlatSumInsteadOfNested) {
  RowGroup group = nested();
  RowBuilder b(1, 0, &group.ranks[0]);
  b.begin(RowKernel::kSum);
  b.input(b.run(Buffer::kInput, 0, 4));
  b.output(b.run(Buffer::kOutput, 0, 1));
  b.row({{0, 0, 1}, {0, 1, 1}, {0, 2, 1}, {0, 3, 1}});
  b.end();
  EXPECT_TRUE(fails(group, Kind::kReductionOrder));
}

TEST(RowMutants, SendBeforeTheWrite) {
  for (const bool own_slots : {false, true}) {
    RowGroup group = combine(own_slots);
    auto& steps = group.ranks[0].lanes[0].steps;
    ASSERT_EQ(steps[2].op, Op::kSend);
    std::swap(steps[1], steps[2]);
    EXPECT_TRUE(fails(group, Kind::kUnwrittenRead));
  }
}

// The slots of the first token written again before anybody has received: no K helps.
TEST(RowMutants, SlotWrittenAgainTooEarly) {
  RowGroup group = combine();
  for (Schedule& s : group.ranks) {
    auto& steps = s.lanes[0].steps;
    const Step total = steps[5];
    steps.erase(steps.begin() + 5);
    steps.insert(steps.end() - 1, total);
  }
  for (const uint32_t slots : {1u, kPlenty}) {
    const auto found = check(group, slots);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->kind, Kind::kDeadlock);
    EXPECT_NE(found->got.find("to consume what it was lent"), std::string::npos) << found->got;
  }
}

TEST(RowMutants, MessagesInTheWrongOrder) {
  RowGroup group = combine(true);
  Schedule& s = group.ranks[0];
  std::vector<Step*> to_one;
  for (Step& step : s.lanes[0].steps) {
    if (step.op == Op::kSend && s.outputs(step)[0].peer == 1) to_one.push_back(&step);
  }
  ASSERT_EQ(to_one.size(), 2u);
  std::swap(s.operands[to_one[0]->first].chunk, s.operands[to_one[1]->first].chunk);
  std::swap(s.operands[to_one[0]->first + 1].chunk, s.operands[to_one[1]->first + 1].chunk);
  // The slot of the second token is not yet written when the first is sent.
  EXPECT_TRUE(fails(group, Kind::kUnwrittenRead));
  auto& steps = s.lanes[0].steps;
  const auto total = std::find_if(steps.begin(), steps.end(),
                                  [&](const Step& step) { return s.inputs(step).size() > 1; });
  ASSERT_NE(total, steps.end());
  const Step first = *to_one[0];
  const Step second = *to_one[1];
  steps.insert(total, {first, second});
  steps.erase(std::find(steps.begin(), steps.end(), first));
  steps.erase(std::find(steps.begin(), steps.end(), second));
  EXPECT_TRUE(fails(group, Kind::kWrongResult));
}

TEST(RowMutants, WrittenTwice) {
  RowGroup group = nested();
  Schedule& s = group.ranks[0];
  const RowSet& set = s.rows.sets[s.outputs(s.lanes[0].steps[0])[0].chunk];
  s.rows.indices[set.first + 1] = s.rows.indices[set.first];
  EXPECT_TRUE(fails(group, Kind::kForbiddenWrite));
}

TEST(RowMutants, WrittenInput) {
  size_t count = 0;
  for_each_step([&](const RowGroup& right, size_t r, size_t i, const std::string& where) {
    const Step& step = right.ranks[r].lanes[0].steps[i];
    if (step.op != Op::kRows) return;
    for (const Buffer buffer : {Buffer::kInput, Buffer::kBias0}) {
      RowGroup group = right;
      Operand& o = group.ranks[r].outputs(step)[0];
      if (o.buffer == Buffer::kOutputSide) continue;
      o.buffer = buffer;
      count += expect_caught(group, "an input written in " + where, {Kind::kForbiddenWrite});
    }
  });
  EXPECT_GT(count, 40u);
}

// A row beyond those that were promised, written all the same.
TEST(RowMutants, RowBeyondTheCount) {
  RowGroup group = dispatch();
  Schedule& s = group.ranks[0];
  Step& step = s.lanes[0].steps.back();
  RowSet& set = own_set(s, step, step.n_in);
  s.rows.indices.push_back(7);
  ++set.count;
  RowProgram& program = s.rows.programs[step.data_chunk];
  s.rows.ends.push_back(s.rows.ends[program.first_end + step.data_nchunks - 1]);
  ++step.data_nchunks;
  const auto found = check(group);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kind, Kind::kWrongResult);
  EXPECT_EQ(found->place, "output[7]");
  EXPECT_EQ(found->expected, "nothing ever written there");
  EXPECT_EQ(found->got, "zero");
}

TEST(RowMutants, SideRowsForMainRows) {
  RowGroup group = quantised();
  auto& steps = group.ranks[0].lanes[0].steps;
  std::swap(steps[1], steps[2]);
  EXPECT_TRUE(fails(group, Kind::kUnmatched));
}

TEST(RowMutants, ScalesForValues) {
  RowGroup group = quantised();
  const auto promise = group.contract.promise;
  group.contract.promise = [promise](RowExpressions& say, int rank, Buffer buffer, uint32_t row) {
    return promise(say, rank, buffer == Buffer::kOutput ? Buffer::kOutputSide : Buffer::kOutput,
                   row);
  };
  EXPECT_TRUE(fails(group, Kind::kWrongResult));
}

}  // namespace
}  // namespace tutti
