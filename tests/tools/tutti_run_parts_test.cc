// The parts of tutti-run that need no process: the command line, the environment, the output.
#include <csignal>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "comm/tools/tutti_run_environment.h"
#include "comm/tools/tutti_run_options.h"
#include "comm/tools/tutti_run_output.h"

namespace tutti {
namespace {

Result<RunOptions> parse(std::vector<std::string> words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  return parse_run_options(pointers);
}

TEST(RunOptions, Good) {
  const Result<RunOptions> all = parse({"-n", "4", "--timeout", "1.5", "--grace=0", "--bind",
                                        "core", "--no-prefix", "prog", "-n", "--", "x"});
  ASSERT_TRUE(all.ok()) << all.status().text();
  EXPECT_EQ(all.value().nranks, 4);
  EXPECT_EQ(all.value().timeout_ns, 1'500'000'000);
  EXPECT_EQ(all.value().grace_ns, 0);
  EXPECT_TRUE(all.value().bind_cores);
  EXPECT_FALSE(all.value().prefix);
  EXPECT_EQ(all.value().command, (std::vector<std::string>{"prog", "-n", "--", "x"}));

  const Result<RunOptions> few = parse({"-n1024", "--bind=none", "--", "--prog"});
  ASSERT_TRUE(few.ok()) << few.status().text();
  EXPECT_EQ(few.value().nranks, 1024);
  EXPECT_FALSE(few.value().timeout_ns.has_value());
  EXPECT_EQ(few.value().grace_ns, 5'000'000'000);
  EXPECT_FALSE(few.value().bind_cores);
  EXPECT_TRUE(few.value().prefix);
  EXPECT_EQ(few.value().command, std::vector<std::string>{"--prog"});

  EXPECT_TRUE(parse({"-n", "1", "-"}).ok()) << "a program may be called so";
  EXPECT_TRUE(parse({"--help", "--nonsense"}).value().help);
}

TEST(RunOptions, BadOnesSayWhatWasExpected) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{}, "expected -n N, the number of ranks, got none"},
      {{"prog"}, "expected -n N, the number of ranks, got none"},
      {{"-n", "2"}, "expected PROGRAM, got nothing after the options"},
      {{"-n", "2", "--"}, "expected PROGRAM, got nothing after the options"},
      {{"-n"}, "-n: expected a value, got nothing"},
      {{"-n", "0", "p"}, "-n: expected a whole number from 1 to 1024, got \"0\""},
      {{"-n", "-1", "p"}, "-n: expected a whole number from 1 to 1024, got \"-1\""},
      {{"-n", "1025", "p"}, "-n: expected a whole number from 1 to 1024, got \"1025\""},
      {{"-n", "99999999999", "p"}, "got \"99999999999\""},
      {{"-n", "2x", "p"}, "got \"2x\""},
      {{"-n", "", "p"}, "got \"\""},
      {{"-np", "2", "p"}, "-n: expected a whole number from 1 to 1024, got \"p\""},
      {{"-n", "2", "--timeout", "0", "p"}, "--timeout: expected seconds > 0"},
      {{"-n", "2", "--timeout", "nan", "p"}, "got \"nan\""},
      {{"-n", "2", "--timeout", "inf", "p"}, "got \"inf\""},
      {{"-n", "2", "--timeout=", "p"}, "got \"\""},
      {{"-n", "2", "--grace", "-1", "p"}, "--grace: expected seconds >= 0"},
      {{"-n", "2", "--bind", "socket", "p"}, "--bind: expected core or none, got \"socket\""},
      {{"-n", "2", "--ranks", "p"}, "or PROGRAM, got \"--ranks\""},
      {{"-n", "2", "--no-prefix=1", "p"}, "or PROGRAM, got \"--no-prefix=1\""},
  };
  for (const auto& [words, text] : cases) {
    const Result<RunOptions> result = parse(words);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_NE(result.status().text().find(text), std::string::npos) << result.status().text();
  }
}

TEST(RunEnvironment, OnlyOurWordCounts) {
  const std::vector<std::string> got =
      rank_environment({"PATH=/bin", "RANK=1", "RANKING=best", "TUTTI_RANK=7", "SLURM_PROCID=3",
                        "SLURM_JOB_ID=5", "OMPI_MCA_orte_hnp_uri=x", "odd"},
                       {3, "/tmp/a", "00ff"}, 2);
  EXPECT_EQ(got, (std::vector<std::string>{"PATH=/bin", "RANKING=best", "SLURM_JOB_ID=5", "odd",
                                           "TUTTI_RANK=2", "TUTTI_NRANKS=3", "TUTTI_LOCAL_RANK=2",
                                           "TUTTI_RENDEZVOUS=file:///tmp/a", "TUTTI_SECRET=00ff"}));
}

// Two ranks and a sink; the clock stands where the test puts it.
class RunOutput : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    for (UniqueFd* writer : {&a_writer_, &b_writer_}) {
      ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
      writer->reset(ends[1]);
      (writer == &a_writer_ ? a_reader_ : b_reader_).reset(ends[0]);
    }
    ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    result_.reset(ends[0]);
    sink_end_.reset(ends[1]);
  }

  void say(const UniqueFd& writer, const std::string& text) {
    ASSERT_EQ(write(writer.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  // What has come out of the sink since the last call.
  std::string written(Sink* sink) {
    std::string all;
    char chunk[4096];
    do {
      sink->flush();
      for (ssize_t n; (n = read(result_.get(), chunk, sizeof chunk)) > 0;) {
        all.append(chunk, static_cast<size_t>(n));
      }
    } while (!sink->empty());
    return all;
  }

  UniqueFd a_writer_, a_reader_, b_writer_, b_reader_, result_, sink_end_;
};

TEST_F(RunOutput, LinesWaitForTheirEnds) {
  Sink sink(sink_end_.get());
  RankPipe a(std::move(a_reader_), "a:", &sink), b(std::move(b_reader_), "b:", &sink);
  say(a_writer_, "one\ntw");
  a.read_some(0);
  say(b_writer_, "x\n\n");
  b.read_some(0);
  EXPECT_EQ(written(&sink), "a:one\nb:x\nb:\n");
  say(a_writer_, "o\nend");
  a.read_some(0);
  a_writer_.reset();
  EXPECT_EQ(written(&sink), "a:two\n");
  a.read_some(0);
  EXPECT_FALSE(a.open());
  EXPECT_EQ(written(&sink), "a:end\n");
}

TEST_F(RunOutput, LongLineKeepsTheSinkForAWhile) {
  Sink sink(sink_end_.get());
  RankPipe a(std::move(a_reader_), "a:", &sink), b(std::move(b_reader_), "b:", &sink);
  const std::string half(32 << 10, 'a');
  for (int i = 0; i < 2; ++i) {
    say(a_writer_, half);
    a.read_some(100);
  }
  EXPECT_EQ(written(&sink), "a:" + half + half);
  EXPECT_FALSE(b.wants_to_read(101));
  EXPECT_TRUE(a.wants_to_read(101));
  say(a_writer_, "more");  // pieces of an open line do not wait
  a.read_some(101);
  EXPECT_EQ(written(&sink), "more");
  const int64_t over = sink.held_until();
  EXPECT_EQ(over, 100 + 5'000'000'000);
  ASSERT_TRUE(b.wants_to_read(over));
  say(b_writer_, "x\n");
  b.read_some(over);
  say(a_writer_, "rest\n");
  a.read_some(over);
  EXPECT_EQ(written(&sink), "\nb:x\na:rest\n");
}

TEST_F(RunOutput, LongLineThatEndsFreesTheSink) {
  Sink sink(sink_end_.get());
  RankPipe a(std::move(a_reader_), "a:", &sink), b(std::move(b_reader_), "b:", &sink);
  const std::string half(32 << 10, 'a');
  for (int i = 0; i < 2; ++i) {
    say(a_writer_, half);
    a.read_some(0);
  }
  say(a_writer_, "\nnext");
  a.read_some(0);
  EXPECT_TRUE(b.wants_to_read(0));
  EXPECT_EQ(written(&sink), "a:" + half + half + "\n");
}

TEST_F(RunOutput, WithoutPrefixesBytesStayAsTheyAre) {
  Sink sink(sink_end_.get());
  RankPipe a(std::move(a_reader_), "", &sink), b(std::move(b_reader_), "", &sink);
  say(a_writer_, "one\ntwo");
  a.read_some(0);
  a_writer_.reset();
  a.read_some(0);
  EXPECT_EQ(written(&sink), "one\ntwo");
  b_writer_.reset();
  b.read_some(0);
  EXPECT_EQ(written(&sink), "") << "silence ends no line";
}

TEST_F(RunOutput, LaterBytesAreNotRead) {
  Sink sink(sink_end_.get());
  RankPipe a(std::move(a_reader_), "a:", &sink), b(std::move(b_reader_), "b:", &sink);
  say(a_writer_, "mine");
  a.read_no_later_bytes();
  b.read_no_later_bytes();
  say(a_writer_, " not mine\n");
  say(b_writer_, "not mine either\n");
  for (int i = 0; i < 2; ++i) a.read_some(0);
  b.read_some(0);
  EXPECT_FALSE(a.open());
  EXPECT_FALSE(b.open());
  EXPECT_EQ(written(&sink), "a:mine\n");
}

TEST_F(RunOutput, FullSinkIsNotFed) {
  Sink sink(sink_end_.get());
  RankPipe a(std::move(a_reader_), "a:", &sink);
  int reads = 0;
  while (a.wants_to_read(0)) {
    say(a_writer_, std::string(4095, 'a') + '\n');
    a.read_some(0);
    ASSERT_LT(++reads, 1000);
  }
  EXPECT_TRUE(sink.full());
  EXPECT_EQ(written(&sink).size(), static_cast<size_t>(reads) * 4098);
  EXPECT_TRUE(a.wants_to_read(0));
}

TEST_F(RunOutput, FailedSinkDropsAll) {
  Sink sink(sink_end_.get());
  result_.reset();
  sink.put(this, "", "text\n", 0);
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  sink.flush();
  std::signal(SIGPIPE, before);
  EXPECT_EQ(sink.failure(), EPIPE);
  sink.put(this, "", "text\n", 0);
  EXPECT_TRUE(sink.empty());
}

}  // namespace
}  // namespace tutti
