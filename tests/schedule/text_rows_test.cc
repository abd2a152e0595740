// The text form of schedules with rows: what is printed, what is parsed, what is refused.
#include <algorithm>
#include <bit>
#include <gtest/gtest.h>
#include <limits>
#include <random>

#include "comm/schedule/row_builder.h"
#include "comm/schedule/text.h"

namespace tutti {
namespace {

void expect_round_trip(const Schedule& s) {
  const std::string text = print(s);
  const Result<Schedule> parsed = parse_schedule(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status().text() << "\n" << text;
  EXPECT_TRUE(s == parsed.value()) << text;
  EXPECT_EQ(print(parsed.value()), text);
  EXPECT_TRUE(parse_schedule(print(parsed.value())).value() == parsed.value());
}

constexpr const char* kHead = "schedule rows nranks 4 rank 1\n";

constexpr const char* kBody =
    "lane 0\n"
    "  send                   input{0..63 70 72} -> 2\n"
    "  send                   scratch_side{} -> 0\n"
    "  send                   input{3 3 2 1} -> 3 nokeep\n"
    "  rows                   copy -> output{0 1} {() ()}\n"
    "  rows                   copy input{5} -> output{9..11}, scratch{0..2} {0:0 0:0 ()}\n"
    "  recv_rows              copy 0:output{0..3} + 2:output{4 5} -> output{0..6} "
    "{0:0..3 1:0..1 ()}\n"
    "  recv_rows_send         sum biases 2 bias0{0} + bias1{0} + 2:scratch{3} -> 3:scratch{4} keep "
    "{(2:0 + 2:0)}\n"
    "  rows_send              sum weighted scratch{3 7} -> 0:scratch{0} {(0:0 * 0.5 + 0:1 + 0:1 * "
    "-1e-05)}\n"
    "  rows                   quantise input{0..2} -> scratch{0..2}, scratch_side{0..2} {0:0..2} "
    "wait 1:0\n"
    "lane 1\n"
    "  rows                   copy input_side{16777215} -> output_side{0} {0:0}\n";

TEST(TextRows, PrintsWhatItParses) {
  const std::string text = std::string(kHead) + kBody;
  const Result<Schedule> parsed = parse_schedule(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status().text();
  EXPECT_EQ(print(parsed.value()), text);
  const Schedule& s = parsed.value();
  const Step& sum = s.lanes[0].steps[7];
  EXPECT_EQ(sum.op, Op::kRows);
  EXPECT_EQ(sum.data_nchunks, 1u);
  const RowProgram& program = s.rows.programs[sum.data_chunk];
  EXPECT_TRUE(program.weighted);
  const auto terms = s.rows.terms_of(program, 0);
  ASSERT_EQ(terms.size(), 3u);
  EXPECT_EQ(terms[2], (RowTerm{0, 1, -1e-05f}));
  const auto sent = s.rows.of(s.inputs(s.lanes[0].steps[0])[0].chunk);
  EXPECT_EQ(sent.size(), 66u);
  EXPECT_EQ(sent[65], 72u);
}

TEST(TextRows, WhatWasBuiltRoundTrips) {
  Schedule s;
  s.root = 3;  // of another schedule, before
  s.in_place = true;
  s.shape.scratch_slots = 7;
  RowBuilder b(4, 1, &s);
  const RowBuilder::Place shared = b.run(Buffer::kScratch, 0, 3);
  b.list(Buffer::kInput, std::vector<uint32_t>{1, 2, 3});  // used by no step
  const uint32_t rows[] = {9, 8, 7};
  b.begin(RowKernel::kSum, true);
  b.bias(b.run(Buffer::kBias0, 0, 3));
  const uint32_t local = b.input(b.list(Buffer::kInput, rows));
  const uint32_t message = b.input(b.run(Buffer::kScratch, 5, 3), 2);
  b.output(shared);
  b.row({{local, 2, 0.1f}, {message, 0, 1}});
  b.row({});
  b.row({{local, 0, std::numeric_limits<float>::infinity()},
         {local, 0, std::bit_cast<float>(0x7fc00123u)},
         {local, 1, -0.0f}});
  b.end();
  b.send(0, shared);
  b.send(2, shared);
  expect_round_trip(s);
  EXPECT_FALSE(s == Schedule());
  Schedule other = s;
  other.rows.terms[0].weight = 0.2f;
  EXPECT_FALSE(s == other);
  other = s;
  other.rows.indices[0] = 1;
  EXPECT_FALSE(s == other);
}

// A rank with nothing to do has no rows at all, and is printed as what is left.
TEST(TextRows, WithoutAnyRow) {
  Schedule s;
  const RowBuilder b(4, 1, &s);
  expect_round_trip(s);
  expect_round_trip(parse_schedule(std::string(kHead) + "lane 0\n").value());
}

TEST(TextRows, StepsOutOfRangeArePrintedToo) {
  const Schedule right = parse_schedule(std::string(kHead) + kBody).value();
  const auto printed = [&](const auto& spoil) {
    Schedule s = right;
    Step& step = s.lanes[0].steps[7];
    spoil(s, step);
    return print_step(s, step);
  };
  const std::string wrong = "rows_send              rows that are out of range";
  EXPECT_EQ(printed([](Schedule& s, Step& step) { s.inputs(step)[0].chunk = 100; }), wrong);
  EXPECT_EQ(printed([](Schedule&, Step& step) { step.data_chunk = 100; }), wrong);
  EXPECT_EQ(printed([](Schedule&, Step& step) { step.data_nchunks = 100; }), wrong);
  EXPECT_EQ(printed([](Schedule& s, Step& step) {
              s.rows.programs[step.data_chunk].first_term = 0xffffffff;
            }),
            wrong);
  EXPECT_EQ(printed([](Schedule& s, Step& step) {
              s.rows.sets[s.inputs(step)[0].chunk].count = 0xffffffff;
            }),
            wrong);
}

struct Refusal {
  const char* text;
  const char* message;
};

TEST(TextRows, SaysWhatIsWrong) {
  const Refusal refusals[] = {
      {" shape", "line 2: expected 'lane', got 'shape'"},
      {"lane 0\n recv 0 -> output{0}", "line 3: expected 'send' or rows, got 'recv'"},
      {"lane 0\n send input[0] -> 0", "line 3: expected '{', got '['"},
      {"lane 0\n send inputs{0} -> 0", "line 3: expected a buffer, got 'inputs'"},
      {"lane 0\n send input{0} -> 1", "line 3: expected a peer, got the rank itself"},
      {"lane 0\n send input{0} -> 4", "line 3: expected a peer below 4, got '4'"},
      {"lane 0\n send -> 0",
       "line 3: expected ':' and the rows of the message, got the end of the "
       "line"},
      {"lane 0\n send input{16777216} -> 0",
       "line 3: expected a row below 16777216, got '16777216'"},
      {"lane 0\n send input{3..1} -> 0", "line 3: expected rows that count up, got 1"},
      {"lane 0\n send input{0..3000000 0..3000000} -> 0",
       "line 3: expected at most 4 M rows in sets, got '}'"},
      {"lane 0\n send input{0 -> 0", "line 3: expected a row below 16777216, got '->'"},
      {"lane 0\n rows fold input{0} -> output{0} {0:0}",
       "line 3: expected copy, sum or quantise, got 'fold'"},
      {"lane 0\n rows copy 0 -> output{0} {0:0}",
       "line 3: expected ':' and the rows of the message, got '->'"},
      {"lane 0\n rows copy input{0} -> output{0}", "line 3: expected '{', got the end of the line"},
      {"lane 0\n rows copy input{0} -> output{0} {1:0}",
       "line 3: expected an input below 1, got '1'"},
      {"lane 0\n rows copy input{0} -> output{0} {0:1}",
       "line 3: expected a row of its input below 1, got '1'"},
      {"lane 0\n rows copy input{0 1} -> output{0} {0:1..0}",
       "line 3: expected rows that count up, got 0"},
      {"lane 0\n rows sum input{0} -> output{0} {(0:0 * x)}", "line 3: expected a weight, got 'x'"},
      {"lane 0\n rows sum biases 65536 input{0} -> output{0} {0:0}",
       "line 3: expected biases below 65536, got '65536'"},
      {"lane 0\n rows copy 0:output{0} -> output{0} {0:0}",
       "line 3: expected recv_rows for a step with these operands, got rows"},
  };
  for (const Refusal& r : refusals) {
    const Result<Schedule> parsed = parse_schedule(kHead + std::string(r.text));
    ASSERT_FALSE(parsed.ok()) << r.text;
    EXPECT_EQ(parsed.status().text(), std::string("schedule text ") + r.message) << r.text;
  }
  const Result<Schedule> parsed = parse_schedule(
      "schedule barrier nranks 2 rank 0 root 0 in_place 0\nshape input_blocks 1 output_blocks 1 "
      "chunks_per_block 1 scratch 0\nlane 0\n rows copy -> output{0} {()}");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.status().text(),
            "schedule text line 4: expected a step of a collective, got 'rows'");
}

// Whatever is cut off or changed, the parser answers; what it accepts prints and parses again.
TEST(TextRows, SurvivesDamage) {
  const std::string whole = std::string(kHead) + kBody;
  std::mt19937 random(7);
  for (size_t length = 0; length < whole.size(); ++length) {
    const Result<Schedule> cut = parse_schedule(whole.substr(0, length));
    if (cut.ok()) expect_round_trip(cut.value());
    for (int i = 0; i < 4; ++i) {
      std::string changed = whole;
      changed[length] = i == 0 ? static_cast<char>(random()) : "0179{}():.*+- "[random() % 14];
      const Result<Schedule> parsed = parse_schedule(changed);
      if (parsed.ok()) expect_round_trip(parsed.value());
    }
  }
}

}  // namespace
}  // namespace tutti
