// The text form: what is printed, what is parsed, what is refused.
#include "comm/schedule/text.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>

#include "comm/schedule/builder.h"
#include "comm/schedule/catalog.h"

namespace tutti {
namespace {

void expect_round_trip(const Schedule& s) {
  const std::string text = print(s);
  const Result<Schedule> parsed = parse_schedule(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status().text() << "\n" << text;
  EXPECT_TRUE(s == parsed.value()) << text;
  EXPECT_EQ(print(parsed.value()), text);
  // What was parsed has no gaps: equal in every respect.
  EXPECT_TRUE(parse_schedule(print(parsed.value())).value() == parsed.value());
}

TEST(Text, WholeCatalogueRoundTrips) {
  Schedule s;
  for (const Algorithm& a : catalog()) {
    for (const int n : {1, 2, 3, 5, 8}) {
      for (const bool in_place : {false, true}) {
        Params p;
        p.nranks = n;
        p.root = n / 2;
        p.in_place = in_place;
        p.pieces = 2;
        for (p.rank = 0; p.rank < n; ++p.rank) {
          a.build(p, &s);
          expect_round_trip(s);
          make_schedule(a, p, &s);
          expect_round_trip(s);
        }
      }
    }
  }
}

constexpr const char* kHead =
    "schedule all_reduce nranks 4 rank 1 root 0 in_place 0\n"
    "shape input_blocks 1 output_blocks 1 chunks_per_block 8 scratch 4\n";

constexpr const char* kBody =
    "lane 0\n"
    "  send                   input[0] -> 0\n"
    "  send                   input[0..4) -> 0\n"
    "  recv                   2 -> scratch[0] as input[1]\n"
    "  recv                   2 reply -> output[1]\n"
    "  copy                   scratch[0..4) -> output[4..8) wait 1:0\n"
    "  copy_send              scratch[0] -> output[1], 2:output[1]\n"
    "  recv_copy_send         2:scratch[0] -> scratch[0] nokeep, 3:scratch[0] as input[1]\n"
    "  reduce                 input[1] + scratch[0] -> output[1]\n"
    "  recv_reduce            input[1] + 2:scratch[0] -> output[1]\n"
    "  recv_reduce_copy_send  final input[1] + 2:scratch[0] -> output[1], 0:output[1]\n"
    "  recv_reduce_send       input[1] + 2:scratch[0] -> output[1] nokeep, 0:output[1]\n"
    "  recv_reduce_copy_send  input[1] + 2:scratch[0] -> 0:output[1] keep\n"
    "  offer                  0 message 1 -> output[0]\n"
    "lane 1\n"
    "  send                   scratch[0..0) -> 2 as input[0..0) wait 0:3\n"
    "lane 2\n";

TEST(Text, PrintsWhatItParses) {
  const std::string text = std::string(kHead) + kBody;
  const Result<Schedule> parsed = parse_schedule(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status().text();
  EXPECT_EQ(print(parsed.value()), text);
  EXPECT_EQ(parsed.value().lanes.size(), 3u);
  const Step& offer = parsed.value().lanes[0].steps[12];
  EXPECT_EQ(offer.op, Op::kOffer);
  EXPECT_EQ(offer.ordinal, 1u);
  const Step& copy = parsed.value().lanes[0].steps[4];
  EXPECT_EQ(copy.wait_lane, 1);
  EXPECT_EQ(copy.data(), (Piece{Buffer::kOutput, 4, 4}));
}

TEST(Text, SpacesAndCommentsDoNotMatter) {
  const std::string text = std::string("# who wrote it\n\n") + kHead +
                           "lane 0 # the only one\r\n\tsend input [ 0 .. 4 )->0#\n\n";
  const Result<Schedule> parsed = parse_schedule(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status().text();
  EXPECT_EQ(print(parsed.value()),
            std::string(kHead) + "lane 0\n  send                   input[0..4) -> 0\n");
}

TEST(Text, StepsOutOfRangeArePrintedToo) {
  Schedule s;
  Step step{};
  step.n_in = 3;
  EXPECT_EQ(print_step(s, step), "a step whose operands are out of range");
  step.first = 0xffffffff;
  EXPECT_EQ(print_step(s, step), "a step whose operands are out of range");
}

struct Refusal {
  const char* text;  // after kHead when it starts with a space or "lane"
  const char* message;
};

TEST(Text, SaysWhatIsWrong) {
  const Refusal refusals[] = {
      {"", "line 1: expected 'schedule', got the end"},
      {"schedule\n", "line 1: expected a collective, got the end of the line"},
      {"schedule all_reduce nranks 0 rank 0", "line 1: expected a rank below 0, got '0'"},
      {"schedule all_reduce nranks 2 rank 2 root 0 in_place 0",
       "line 1: expected a rank below 2, got '2'"},
      {"schedule all_reduce nranks 9999999999 rank 2",
       "line 1: expected ranks below 1048577, got '9999999999'"},
      {"schedule all_reduce nranks 2 rank 1 root 0 in_place 0\n",
       "line 2: expected 'shape', got the end"},
      {"schedule all_reduce nranks 2 rank 1 root 0 in_place 0\nshape input_blocks 1048576 "
       "output_blocks 1 chunks_per_block 1048576 scratch 0\n",
       "line 2: expected at most 16777216 chunks a buffer, got the end of the line"},
      {" send input[0] -> 0", "line 3: expected 'lane', got 'send'"},
      {"lane 1", "line 3: expected a lane below 1, got '1'"},
      {"lane 0\nlane 0", "line 4: expected lanes in order, number 1, got 0"},
      {"lane 0\n sent input[0] -> 0", "line 4: expected a step or 'lane', got 'sent'"},
      {"lane 0\n send input[8] -> 0", "line 4: expected a run of chunks of this buffer, got ']'"},
      {"lane 0\n send input[9] -> 0", "line 4: expected a chunk below 9, got '9'"},
      {"lane 0\n send input[4..2) -> 0",
       "line 4: expected a run of chunks of this buffer, got ')'"},
      {"lane 0\n send input[0] -> 1", "line 4: expected a peer, got the rank itself"},
      {"lane 0\n recv 01 -> output[0]", "line 4: expected a peer, got the rank itself"},
      {"lane 0\n send input[0] -> 4", "line 4: expected a peer below 4, got '4'"},
      {"lane 0\n send input[0] -> -1", "line 4: expected input, output or scratch, got '-'"},
      {"lane 0\n send input[0] 0", "line 4: expected '->', got '0'"},
      {"lane 0\n send input[0] -> 0 now", "line 4: expected the end of the line, got 'now'"},
      {"lane 0\n send scratch[0] -> 0",
       "line 4: expected 'as' and the data that scratch holds, got the end of the line"},
      {"lane 0\n send scratch[0] -> 0 as scratch[0]",
       "line 4: expected data of input or output, got the end of the line"},
      {"lane 0\n recv 0 -> scratch[0..2) as input[0]",
       "line 4: expected places of 2 chunks, got the end of the line"},
      {"lane 0\n reduce input[0] -> 0:output[0]",
       "line 4: expected reduce_send for a step with these operands, got reduce"},
      {"lane 0\n reduce 0 -> output[0]",
       "line 4: expected ':' and the place of the message, got '->'"},
      {"lane 0\n copy input[0] -> output[0] wait 0:0",
       "line 4: expected a wait for a step of another lane, got 0:0"},
      {"lane 0\n copy input[0] -> output[0] wait 1:0\nlane 1\n",
       "line 4: expected a wait for a step of another lane, got 1:0"},
      {"lane 0\n send \x01\xff", "line 4: expected input, output or scratch, got '?'"},
  };
  for (const Refusal& r : refusals) {
    const bool body = r.text[0] == ' ' || std::string(r.text).rfind("lane", 0) == 0;
    const Result<Schedule> parsed = parse_schedule((body ? kHead : "") + std::string(r.text));
    ASSERT_FALSE(parsed.ok()) << r.text;
    EXPECT_EQ(parsed.status().code(), Code::kInvalidArgument);
    EXPECT_EQ(parsed.status().text(), std::string("schedule text ") + r.message) << r.text;
  }
}

// Whatever is cut off or changed, the parser answers; what it accepts prints and parses again.
TEST(Text, SurvivesDamage) {
  const std::string whole = std::string(kHead) + kBody;
  std::mt19937 random(7);
  for (size_t length = 0; length < whole.size(); ++length) {
    const Result<Schedule> cut = parse_schedule(whole.substr(0, length));
    if (cut.ok()) expect_round_trip(cut.value());
    std::string changed = whole;
    changed[length] = static_cast<char>(random());
    const Result<Schedule> parsed = parse_schedule(changed);
    if (parsed.ok()) expect_round_trip(parsed.value());
  }
}

}  // namespace
}  // namespace tutti
