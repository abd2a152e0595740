// The config struct: what is set there wins; what is wrong there fails, with nothing created.
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>

#include "tests/api/team.h"

namespace tutti {
namespace {

class ConfigTest : public ApiTest {
 protected:
  // InitAll fails, says these words, and hands out nothing.
  void expect_refused(const tuttiConfig_t& config, const std::vector<std::string>& words) {
    tuttiComm_t comms[2] = {reinterpret_cast<tuttiComm_t>(1), reinterpret_cast<tuttiComm_t>(1)};
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommInitAll(comms, 2, &config)));
    EXPECT_TRUE(names(last_error(), words));
    EXPECT_EQ(comms[0], nullptr);
    EXPECT_EQ(comms[1], nullptr);
  }
  tuttiConfig_t config_ = TUTTI_CONFIG_INITIALIZER;
};

TEST_F(ConfigTest, NoConfigAtAll) {
  tuttiComm_t comms[2];
  ASSERT_TRUE(returns(tuttiSuccess, tuttiCommInitAll(comms, 2, nullptr)));
  Team({comms[0], comms[1]}).expect_usable();
}

TEST_F(ConfigTest, NotInitialised) {
  config_.magic = 0;
  expect_refused(config_, {"tuttiCommInitAll", "TUTTI_CONFIG_INITIALIZER", "0x54755474", "got 0"});
  config_ = TUTTI_CONFIG_INITIALIZER;
  for (size_t size : {size_t{0}, size_t{1}, offsetof(tuttiConfig_t, version)}) {
    config_.size = size;
    expect_refused(config_, {"tuttiCommInitAll", "size " + std::to_string(size)});
  }
  tuttiConfig_t zeros;
  std::memset(&zeros, 0, sizeof zeros);
  expect_refused(zeros, {"TUTTI_CONFIG_INITIALIZER"});
}

// A program built against an older header has a shorter struct: what lies behind it is not read.
TEST_F(ConfigTest, OlderStructIsShorter) {
  config_.algorithms = reinterpret_cast<const char*>(16);
  config_.transport = reinterpret_cast<const char*>(16);
  config_.timeout_seconds = -7;
  config_.threads = -7;
  config_.buffer_cap = 1;
  config_.name = reinterpret_cast<const char*>(16);
  config_.size = offsetof(tuttiConfig_t, algorithms);
  Team(2, config_).expect_usable();
  config_.size = offsetof(tuttiConfig_t, blocking);
  Team(2, config_).expect_usable();
  config_.algorithms = "all_reduce:ring";
  config_.size = offsetof(tuttiConfig_t, transport);
  Team(2, config_).expect_usable();
}

// And one built against a newer header has a longer one.
TEST_F(ConfigTest, NewerStructIsLonger) {
  struct Newer {
    tuttiConfig_t known;
    uint64_t more[8];
  } newer;
  std::memset(&newer, 0x5a, sizeof newer);
  newer.known = TUTTI_CONFIG_INITIALIZER;
  newer.known.size = sizeof newer;
  newer.known.version = TUTTI_VERSION_CODE + 100;
  Team(2, newer.known).expect_usable();
}

TEST_F(ConfigTest, BadValues) {
  config_.blocking = 2;
  expect_refused(config_, {"blocking: expected 0 or 1, got 2"});
  config_ = TUTTI_CONFIG_INITIALIZER;
  const double inf = std::numeric_limits<double>::infinity();
  for (double seconds : {-1.0, -0.001, std::nan(""), inf, -inf, 1e300}) {
    config_.timeout_seconds = seconds;
    expect_refused(config_, {"timeout_seconds", "expected"});
  }
  config_ = TUTTI_CONFIG_INITIALIZER;
  for (int threads : {0, -1, 1025, INT32_MAX}) {
    config_.threads = threads;
    expect_refused(config_, {"threads", "1 to 1024", "got \"" + std::to_string(threads) + "\""});
  }
  config_ = TUTTI_CONFIG_INITIALIZER;
  config_.buffer_cap = 65535;
  expect_refused(config_, {"buffer_cap", "at least 64K", "65535"});
  config_ = TUTTI_CONFIG_INITIALIZER;
  for (const char* algorithms : {"ring", "all_reduce:", "all_reduce:ring,", "all_reduce:nope",
                                 "nope:ring", "all_reduce:ring,all_reduce:two_shot", ",", "::"}) {
    config_.algorithms = algorithms;
    expect_refused(config_, {"algorithms"});
  }
  config_ = TUTTI_CONFIG_INITIALIZER;
  for (const char* transport : {"pigeon", "", "in proc"}) {
    config_.transport = transport;
    expect_refused(config_, {transport});
  }
}

TEST_F(ConfigTest, ValuesHold) {
  config_.algorithms = "all_reduce:ring,broadcast:chain";
  config_.transport = "inproc";
  config_.threads = 1;
  config_.buffer_cap = 64 << 10;
  config_.timeout_seconds = 0.05;
  char name[] = "training";
  config_.name = name;
  Team team(2, config_);
  std::memset(name, 'x', sizeof name - 1);  // it was copied
  team.expect_usable();
  const int64_t start = now_ns();
  float value = 0;
  EXPECT_TRUE(returns(tuttiTimeout,
                      tuttiAllReduce(&value, &value, 1, tuttiFloat32, tuttiSum, team[0], nullptr)));
  EXPECT_GE(now_ns() - start, 50'000'000);
  EXPECT_LT(now_ns() - start, 20'000'000'000);
  EXPECT_TRUE(names(last_error(), {"rank 0 of 2 in 'training'", "ring"}));
}

// Children inherit what their own config leaves out.
TEST_F(ConfigTest, ChildrenInherit) {
  config_.timeout_seconds = 0.05;
  config_.algorithms = "all_reduce:ring";
  config_.name = "parent";
  Team team(2, config_);
  team.run([&](int rank, tuttiComm_t comm) {
    tuttiComm_t child = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiCommSplit(comm, 0, 0, &child, nullptr)));
    if (rank == 0) {
      float value = 0;
      EXPECT_TRUE(returns(
          tuttiTimeout, tuttiAllReduce(&value, &value, 1, tuttiFloat32, tuttiSum, child, nullptr)));
      EXPECT_TRUE(names(last_error(), {"'parent'", "ring", "0.05"}));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(child)));
    } else {
      // Leaves last, so that the other one meets its deadline and not our end.
      EXPECT_TRUE(wait_until([&] {
        tuttiResult_t async = tuttiSuccess;
        (void)tuttiCommGetAsyncError(child, &async);
        return async != tuttiSuccess;
      }));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(child)));
    }
  });
}

TEST_F(ConfigTest, ConfigOfAChild) {
  Team team(2);
  tuttiComm_t made = reinterpret_cast<tuttiComm_t>(1);
  config_.threads = 0;
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommSplit(team[0], 0, 0, &made, &config_)));
  EXPECT_EQ(made, nullptr);
  config_ = TUTTI_CONFIG_INITIALIZER;
  config_.name = "child";
  config_.timeout_seconds = 0.05;
  team.run([&](int rank, tuttiComm_t comm) {
    tuttiComm_t child = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiCommSplit(comm, rank, 0, &child, &config_)));
    tuttiResult_t async = tuttiInternalError;
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommGetAsyncError(child, &async)));
    EXPECT_EQ(async, tuttiSuccess);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(child)));
  });
  team.expect_usable();
}

}  // namespace
}  // namespace tutti
