// What concerns a whole process: settings from the environment, fork, exit, and that communicators
// come and go without a trace.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <malloc.h>
#include <sstream>
#include <string>
#include <sys/wait.h>

#include "tests/api/team.h"

namespace tutti {
namespace {

using ProcessTest = ApiTest;

struct Outcome {
  int status = -1;
  std::string text;
};

// Runs the helper with these settings and collects what it prints.
Outcome run_helper(const std::string& scenario, const std::string& settings = "") {
  const std::string command = settings + " " + TUTTI_API_HELPER + " " + scenario + " 2>&1";
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 512> chunk;
  while (std::fgets(chunk.data(), chunk.size(), pipe) != nullptr) outcome.text += chunk.data();
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  return outcome;
}

TEST_F(ProcessTest, GoodSettings) {
  for (const char* settings :
       {"", "TUTTI_ALGO=all_reduce:ring", "TUTTI_TRANSPORT=inproc", "TUTTI_TIMEOUT=never",
        "TUTTI_THREADS=1", "TUTTI_BUFFER_CAP=64K", "TUTTI_LOG=off",
        "TUTTI_ALGO=broadcast:chain,all_reduce:one_shot TUTTI_TIMEOUT=0.5"}) {
    const Outcome o = run_helper("init", settings);
    EXPECT_EQ(o.status, 0) << settings << o.text;
    EXPECT_EQ(o.text, "0 \n") << settings;
  }
}

TEST_F(ProcessTest, BadSettingsFailInit) {
  const std::pair<const char*, std::vector<std::string>> cases[] = {
      {"TUTTI_ALGO=all_reduce", {"TUTTI_ALGO", "expected", "got \"all_reduce\""}},
      {"TUTTI_ALGO=all_reduce:nonsense", {"TUTTI_ALGO", "two_shot", "nonsense"}},
      {"TUTTI_ALGO=nothing:ring", {"TUTTI_ALGO", "nothing"}},
      {"TUTTI_TRANSPORT=pigeon", {"pigeon", "inproc"}},
      {"TUTTI_TRANSPORT=Not/A/Name", {"TUTTI_TRANSPORT", "Not/A/Name"}},
      {"TUTTI_TIMEOUT=0", {"TUTTI_TIMEOUT", "expected seconds > 0", "got \"0\""}},
      {"TUTTI_TIMEOUT=-1", {"TUTTI_TIMEOUT", "got \"-1\""}},
      {"TUTTI_TIMEOUT=nan", {"TUTTI_TIMEOUT", "got \"nan\""}},
      {"TUTTI_TIMEOUT=5x", {"TUTTI_TIMEOUT", "got \"5x\""}},
      {"TUTTI_LOG=loud", {"TUTTI_LOG", "expected LEVEL", "got \"loud\""}},
      {"TUTTI_LOG=warn:/dev/null/log", {"/dev/null/log"}},
      {"TUTTI_THREADS=0", {"TUTTI_THREADS", "1 to 1024", "got \"0\""}},
      {"TUTTI_THREADS=99999999999999", {"TUTTI_THREADS"}},
      {"TUTTI_BUFFER_CAP=12", {"TUTTI_BUFFER_CAP", "at least 64K", "got \"12\""}},
      {"TUTTI_BUFFER_CAP=99999999999G", {"TUTTI_BUFFER_CAP"}},
  };
  for (const auto& [setting, words] : cases) {
    const Outcome o = run_helper("init", setting);
    EXPECT_EQ(o.status, 0) << setting << ": " << o.text;
    const bool system = words[0][0] == '/';
    EXPECT_EQ(o.text.substr(0, 2), system ? "4 " : "1 ") << setting << ": " << o.text;
    EXPECT_TRUE(names(o.text, words)) << setting;
  }
}

TEST_F(ProcessTest, UnknownSettingWarnsOnce) {
  const Outcome o = run_helper("init", "TUTTI_NO_SUCH_THING=1 TUTTI_LOG=warn");
  EXPECT_EQ(o.status, 0);
  const size_t first = o.text.find("TUTTI_NO_SUCH_THING");
  EXPECT_NE(first, std::string::npos) << o.text;
  EXPECT_EQ(o.text.find("TUTTI_NO_SUCH_THING", first + 1), std::string::npos) << o.text;
  EXPECT_TRUE(names(o.text, {"\n0 "}));
}

// Started by the first kernel that is worth it, and gone before the process is.
TEST_F(ProcessTest, ThreadsHelpWithLargeKernels) {
  const auto threads = [](const Outcome& o) {
    int number = -1;
    EXPECT_EQ(std::sscanf(o.text.c_str(), "threads %d", &number), 1) << o.text;
    EXPECT_TRUE(names(o.text, {"\n0 "}));
    EXPECT_EQ(o.status, 0);
    return number;
  };
  const int alone = threads(run_helper("large", "TUTTI_LOG=off TUTTI_THREADS=1"));
  EXPECT_EQ(threads(run_helper("large", "TUTTI_LOG=off TUTTI_THREADS=3")), alone + 2);
}

TEST_F(ProcessTest, MoreThreadsThanCoresWarnsOnce) {
  const Outcome o = run_helper("init", "TUTTI_THREADS=1024 TUTTI_LOG=warn");
  EXPECT_TRUE(names(o.text, {"1024 threads (TUTTI_THREADS)", "each of 2 ranks", "cores", "\n0 "}));
  const size_t first = o.text.find("TUTTI_THREADS");
  EXPECT_EQ(o.text.find("TUTTI_THREADS", first + 1), std::string::npos) << o.text;
}

TEST_F(ProcessTest, LogGoesToItsFile) {
  const std::string file = testing::TempDir() + "tutti_process_test.log";
  std::filesystem::remove(file);
  const Outcome o = run_helper("init", "TUTTI_NO_SUCH_THING=1 TUTTI_LOG=warn:" + file);
  EXPECT_EQ(o.text, "0 \n");
  std::stringstream content;
  content << std::ifstream(file).rdbuf();
  EXPECT_TRUE(names(content.str(), {"TUTTI_NO_SUCH_THING"}));
  std::filesystem::remove(file);
}

TEST_F(ProcessTest, Fork) {
  // A child of fork() has no use for a search for leaks.
  const Outcome used = run_helper("fork_used", "TUTTI_LOG=off ASAN_OPTIONS=detect_leaks=0");
  EXPECT_EQ(used.status, 0);
  EXPECT_EQ(used.text, "0 \n");
  const Outcome unused = run_helper("fork_unused");
  EXPECT_EQ(unused.status, 0);
  EXPECT_EQ(unused.text, "0 \n");
}

TEST_F(ProcessTest, ExitWithWorkPending) {
  for (int i = 0; i < 10; ++i) {
    const Outcome o = run_helper("leave", "TUTTI_LOG=off");
    EXPECT_EQ(o.status, 0);
    EXPECT_EQ(o.text, "0 \n");
  }
}

// Bytes in use, or 0 where a sanitizer keeps the books.
size_t heap_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

void come_and_go() {
  std::vector<tuttiComm_t> comms(4);
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommInitAll(comms.data(), 4, nullptr)));
  std::vector<int32_t> values(4, 1);
  std::vector<tuttiComm_t> halves(4);
  tuttiConfig_t config = config_with_timeout(30);
  config.blocking = 0;
  for (size_t r = 0; r < 4; ++r) {
    EXPECT_TRUE(returns(tuttiInProgress,
                        tuttiCommSplit(comms[r], static_cast<int>(r / 2), 0, &halves[r], &config)));
  }
  for (size_t r = 0; r < 4; ++r) {
    EXPECT_TRUE(wait_until([&] {
      tuttiResult_t async = tuttiInternalError;
      (void)tuttiCommGetAsyncError(halves[r], &async);
      return async == tuttiSuccess;
    }));
  }
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
  for (size_t r = 0; r < 4; ++r) {
    for (tuttiComm_t comm : {comms[r], halves[r]}) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiAllReduce(&values[r], &values[r], 1, tuttiInt32,
                                                       tuttiSum, comm, nullptr)));
    }
  }
  EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
  for (size_t r = 0; r < 4; ++r) {
    for (tuttiComm_t comm : {comms[r], halves[r]}) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommFinalize(comm)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(comm)));
    }
  }
}

TEST_F(ProcessTest, CommunicatorsLeaveOnlyTheirShells) {
  alarm(300);
  for (int i = 0; i < 20; ++i) come_and_go();
  const size_t before = heap_bytes();
  constexpr size_t kTimes = 130;  // a bit over 1000 communicator handles
  for (size_t i = 0; i < kTimes; ++i) come_and_go();
  const size_t after = heap_bytes();
  const size_t grown = after > before ? after - before : 0;
  EXPECT_LE(grown, kTimes * 8 * 1024) << "at most 1 KiB for each of 8 handles";
}

}  // namespace
}  // namespace tutti
