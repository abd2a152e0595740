// The command line: what is understood and what is refused.
#include "bench/perf/options.h"

#include <gtest/gtest.h>

namespace perf {
namespace {

CommandLine parse(std::vector<std::string> words) {
  words.insert(words.begin(), "tutti-perf");
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return read_command_line(static_cast<int>(words.size()), pointers.data());
}

std::string refusal(const std::vector<std::string>& words) {
  testing::internal::CaptureStderr();
  const CommandLine line = parse(words);
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(line.exit_code, 2) << text;
  return text;
}

TEST(OptionsTest, Defaults) {
  const CommandLine line = parse({"all_reduce"});
  ASSERT_FALSE(line.exit_code.has_value());
  const std::vector<Case> cases = cases_of(line.options, Collective::kAllReduce, 2);
  ASSERT_EQ(cases.size(), 13u);
  EXPECT_EQ(cases.front().count, 2u);
  EXPECT_EQ(bytes_of(cases.back(), 2), size_t{64} << 20);
}

TEST(OptionsTest, EverythingIsTaken) {
  const CommandLine line = parse(
      {"reduce",     "-n",      "5",          "-b",        "1K",         "-e",        "4M",
       "-f",         "2",       "-d",         "bf16",      "-o",         "max",       "-r",
       "3",          "-t",      "gloo",       "-m",        "registered", "-a",        "binomial",
       "--in-place", "--iters", "7",          "--warmup",  "0",          "--batches", "3",
       "--no-check", "--peers", "gloo,mpich", "--timeout", "2.5"});
  ASSERT_FALSE(line.exit_code.has_value());
  const Options& o = line.options;
  EXPECT_EQ(o.collectives, std::vector<Collective>{Collective::kReduce});
  EXPECT_EQ(o.ranks, 5);
  EXPECT_EQ(o.smallest, 1024u);
  EXPECT_EQ(o.largest, size_t{4} << 20);
  EXPECT_EQ(o.dtype, tutti::DataType::kBfloat16);
  EXPECT_EQ(o.op, tutti::ReduceOp::kMax);
  EXPECT_EQ(o.root, 3);
  EXPECT_TRUE(o.registered);
  EXPECT_EQ(o.iterations, 7);
  EXPECT_EQ(o.warmup, 0);
  EXPECT_FALSE(o.check);
  EXPECT_EQ(o.peers, (std::vector<std::string>{"gloo", "mpich", "limit"}));
  EXPECT_DOUBLE_EQ(o.timeout_seconds, 2.5);
}

TEST(OptionsTest, AllMeansAll) {
  EXPECT_EQ(parse({"all"}).options.collectives.size(), static_cast<size_t>(kNumCollectives));
}

TEST(OptionsTest, SelectTakesWhatHasAChoice) {
  const CommandLine line =
      parse({"select", "-n", "4", "-t", "shm", "-m", "registered", "--rounds", "5"});
  ASSERT_FALSE(line.exit_code.has_value());
  EXPECT_TRUE(line.options.select);
  EXPECT_EQ(line.options.rounds, 5);
  EXPECT_TRUE(line.options.registered);
  EXPECT_EQ(line.options.collectives,
            (std::vector<Collective>{
                Collective::kAllReduce, Collective::kReduce, Collective::kBroadcast,
                Collective::kAllGather, Collective::kReduceScatter, Collective::kGather,
                Collective::kScatter, Collective::kAllToAll, Collective::kBarrier}));
  EXPECT_EQ(parse({"select", "-c", "gather"}).options.collectives,
            std::vector<Collective>{Collective::kGather});
  EXPECT_FALSE(parse({"all"}).options.select);
  EXPECT_NE(refusal({"select", "-c", "all_to_all_v"}).find("more than one algorithm"),
            std::string::npos);
  EXPECT_NE(refusal({"select", "-c", "sum"}).find("\"sum\""), std::string::npos);
  refusal({"select", "-a", "ring"});
}

TEST(OptionsTest, ErrorsNameOptionExpectedAndGot) {
  EXPECT_NE(refusal({"all_reduce", "-b", "12X"}).find("-b: expected bytes"), std::string::npos);
  EXPECT_NE(refusal({"all_reduce", "-d", "f31"}).find("\"f31\""), std::string::npos);
  EXPECT_NE(refusal({"all_reduce", "-o", "premul"}).find("-o: expected"), std::string::npos);
  EXPECT_NE(refusal({"all_reduce", "-t", "tcp"}).find("inproc, shm, gloo or mpi"),
            std::string::npos);
  EXPECT_NE(refusal({"all_reduce", "-m", "shared"}).find("registered"), std::string::npos);
  EXPECT_NE(refusal({"all_reduce", "-n", "0"}).find("at least 1"), std::string::npos);
  EXPECT_NE(refusal({"all_reduce", "-f", "1"}).find("at least 2"), std::string::npos);
  EXPECT_NE(refusal({"all_reduce", "--peers", "nccl"}).find("\"nccl\""), std::string::npos);
  EXPECT_NE(refusal({"all_reduce", "--timeout", "soon"}).find("seconds"), std::string::npos);
  EXPECT_NE(refusal({"all_reduce", "-b", "2K", "-e", "1K"}).find("more than"), std::string::npos);
  EXPECT_NE(refusal({"all_reduce", "-d", "f32", "-o", "band"}).find("not defined"),
            std::string::npos);
  EXPECT_NE(refusal({"send_recv", "--in-place"}).find("in-place"), std::string::npos);
  EXPECT_NE(refusal({"all", "-a", "ring"}).find("one collective"), std::string::npos);
  EXPECT_NE(refusal({"send_recv", "-a", "ring"}).find("no algorithms"), std::string::npos);
  refusal({"all_reduced"});
  refusal({});
}

TEST(OptionsTest, Bytes) {
  EXPECT_EQ(parse_bytes("8"), 8u);
  EXPECT_EQ(parse_bytes("3k"), 3072u);
  EXPECT_EQ(parse_bytes("1G"), size_t{1} << 30);
  EXPECT_FALSE(parse_bytes("").has_value());
  EXPECT_FALSE(parse_bytes("-1").has_value());
  EXPECT_FALSE(parse_bytes("1KK").has_value());
  EXPECT_FALSE(parse_bytes("99999999999G").has_value());
}

TEST(OptionsTest, SizesThatComeToTheSameAreOneCase) {
  const Options options = parse({"all_gather", "-b", "1", "-e", "64", "-f", "2"}).options;
  const std::vector<Case> cases = cases_of(options, Collective::kAllGather, 3);
  ASSERT_EQ(cases.size(), 3u);  // 16, 32 and 64 bytes: 1, 2 and 5 elements per rank
  EXPECT_EQ(cases[0].count, 1u);
  EXPECT_EQ(cases[2].count, 5u);
  EXPECT_TRUE(
      cases_of(parse({"all_gather", "-b", "8", "-e", "8"}).options, Collective::kAllGather, 3)
          .empty());
}

}  // namespace
}  // namespace perf
