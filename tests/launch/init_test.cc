// What a process is told when its job cannot come together.
#include <gtest/gtest.h>
#include <thread>

#include "tutti/tutti.h"

#include "comm/base/clock.h"
#include "comm/base/config.h"
#include "comm/bootstrap/agreement.h"
#include "comm/bootstrap/file_exchange.h"
#include "tests/launch/job.h"
#include "tests/support/temp_folder.h"

namespace tutti {
namespace {

testing::AssertionResult says(const Outcome& outcome, tuttiResult_t code,
                              const std::vector<std::string>& words) {
  const std::string head = "init " + std::to_string(static_cast<int>(code)) + ' ';
  if (outcome.text.find(head) == std::string::npos) {
    return testing::AssertionFailure() << "no \"" << head << "\" in: " << outcome.text;
  }
  for (const std::string& word : words) {
    if (outcome.text.find(word) == std::string::npos) {
      return testing::AssertionFailure() << "no \"" << word << "\" in: " << outcome.text;
    }
  }
  return testing::AssertionSuccess();
}

class InitTest : public testing::Test {
 protected:
  std::vector<Program> job(int n) { return helper_job(folder_.path(), n, {"init"}); }
  TempFolder folder_;
};

TEST_F(InitTest, AnAbsentRankIsNamed) {
  auto programs = job(3);
  for (Program& p : programs) p.environment.emplace_back("TUTTI_TIMEOUT", "1");
  programs.erase(programs.begin() + 1);
  const int64_t begin = now_ns();
  const auto outcomes = run_all(programs);
  EXPECT_LT(now_ns() - begin, 20'000'000'000);
  EXPECT_TRUE(says(outcomes[0], tuttiTimeout, {"rank 0 of 3", "rank 1 did not come"}));
  EXPECT_TRUE(says(outcomes[1], tuttiTimeout, {"rank 2 of 3", "rank 1 did not come"}));
}

TEST_F(InitTest, AnUnreachableRootIsNamed) {
  const HeldPort port;
  auto programs = job(2);
  programs.erase(programs.begin());
  const std::string where = "127.0.0.1:" + std::to_string(port.number());
  programs[0].environment.emplace_back("TUTTI_TIMEOUT", "0.5");
  programs[0].environment.emplace_back("TUTTI_RENDEZVOUS", "tcp://" + where);
  const auto outcomes = run_all(programs);
  EXPECT_TRUE(says(outcomes[0], tuttiTimeout, {"rank 1 of 2", where, "connection refused"}));
}

TEST_F(InitTest, AnOccupiedRendezvousIsNamed) {
  const HeldPort port;
  auto programs = job(2);
  const std::string where = "127.0.0.1:" + std::to_string(port.number());
  for (Program& p : programs) {
    p.environment.emplace_back("TUTTI_TIMEOUT", "1");
    p.environment.emplace_back("TUTTI_RENDEZVOUS", "tcp://" + where);
  }
  const auto outcomes = run_all(programs);
  EXPECT_TRUE(says(outcomes[0], tuttiSystemError, {where}));
  EXPECT_TRUE(says(outcomes[1], tuttiTimeout, {where}));
}

TEST_F(InitTest, AnOccupiedPortRangeIsNamedOnAllRanks) {
  const HeldPort port;
  auto programs = job(2);
  const std::string range = std::to_string(port.number()) + '-' + std::to_string(port.number());
  programs[1].environment.emplace_back("TUTTI_PORT_RANGE", range);
  for (Program& p : programs) p.environment.emplace_back("TUTTI_SOCKET_IFNAME", "lo");
  const auto outcomes = run_all(programs);
  EXPECT_TRUE(says(outcomes[1], tuttiSystemError, {range}));
  EXPECT_TRUE(says(outcomes[0], tuttiRemoteError, {"rank 0 of 2", "rank 1 failed", range}));
}

TEST_F(InitTest, NoSuchInterface) {
  auto programs = job(2);
  for (Program& p : programs) p.environment.emplace_back("TUTTI_SOCKET_IFNAME", "nosuch*");
  for (const Outcome& o : run_all(programs)) {
    EXPECT_TRUE(says(o, tuttiInvalidArgument, {"nosuch*", "lo"}));
  }
}

TEST_F(InitTest, ASettingThatDiffersIsNamed) {
  auto programs = job(3);
  programs[2].environment.emplace_back("TUTTI_ALGO", "all_reduce:ring");
  for (const Outcome& o : run_all(programs)) {
    EXPECT_TRUE(says(o, tuttiMismatch,
                     {"setting algorithms", "rank 0", "\"\"", "rank 2", "\"all_reduce:ring\""}));
  }
}

TEST_F(InitTest, AWrongSecretIsNamed) {
  auto programs = job(2);
  for (Program& p : programs) p.environment.emplace_back("TUTTI_TIMEOUT", "5");
  programs[1].environment.emplace_back("TUTTI_SECRET", "ffffffffffffffffffffffffffffffff");
  const auto outcomes = run_all(programs);
  EXPECT_TRUE(says(outcomes[0], tuttiAuthFailed, {"rank-1"}));
  EXPECT_TRUE(says(outcomes[1], tuttiAuthFailed, {"rank-0"}));
}

TEST_F(InitTest, AnotherVersionIsNamed) {
  auto programs = job(2);
  programs.pop_back();
  // Rank 1 speaks the next version of everything behind its number.
  std::thread other([this] {
    FileExchange exchange(folder_.path(), 1, 2, *parse_secret("000102030405060708090a0b0c0d0e0f"));
    RankCard card;
    card.wire_version = kWireVersion + 1;
    const std::string bytes = card.encode();
    std::string piece(8, '\0');  // no failure, no text
    piece += std::string("\x04\0\0\0", 4) + bytes.substr(0, 4) + std::string(16, 's');
    (void)exchange.all_gather(piece, {Deadline::after_ns(20'000'000'000), nullptr});
  });
  const auto outcomes = run_all(programs);
  other.join();
  EXPECT_TRUE(says(outcomes[0], tuttiVersionMismatch,
                   {"rank 0", "rank 1", "version " + std::to_string(kWireVersion + 1)}));
}

TEST_F(InitTest, ATransportThatIsNotThere) {
  auto programs = helper_job(folder_.path(), 2, {"init", "pigeon"});
  for (const Outcome& o : run_all(programs)) {
    EXPECT_TRUE(says(o, tuttiInvalidArgument, {"pigeon", "inproc", "gloo", "mpi"}));
  }
}

TEST_F(InitTest, InprocBetweenProcesses) {
  auto programs = helper_job(folder_.path(), 2, {"init", "inproc"});
  for (const Outcome& o : run_all(programs)) {
    EXPECT_TRUE(says(o, tuttiUnsupported, {"transport inproc joins ranks of one process"}));
  }
}

TEST_F(InitTest, ShmBetweenPartsOfAHost) {
  auto programs = helper_job(folder_.path(), 2, {"init", "shm"});
  programs[1].environment.emplace_back("TUTTI_HOST_ID", "another");
  for (const Outcome& o : run_all(programs)) {
    EXPECT_TRUE(says(o, tuttiUnsupported, {"rank 0", "rank 1", "TUTTI_HOST_ID"}));
  }
}

TEST_F(InitTest, BadLaunchVariables) {
  auto programs = job(1);
  programs[0].environment.emplace_back("TUTTI_RANK", "7");
  EXPECT_TRUE(says(run_all(programs)[0], tuttiInvalidArgument,
                   {"TUTTI_RANK: expected a number from 0 to 0, got \"7\""}));
}

}  // namespace
}  // namespace tutti
