#include "comm/bootstrap/launch.h"

#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/temp_folder.h"

namespace tutti {
namespace {

using Variables = std::vector<std::pair<std::string, std::string>>;

constexpr const char* kSecret = "00112233445566778899AABBCCDDEEFF";

Environment with(Variables variables) {
  Environment environment;
  environment.variables = std::move(variables);
  return environment;
}

TEST(ReadLaunch, TuttiRun) {
  const auto launch = read_launch(with({{"TUTTI_RANK", "2"},
                                        {"TUTTI_NRANKS", "4"},
                                        {"TUTTI_LOCAL_RANK", "0"},
                                        {"TUTTI_RENDEZVOUS", "tcp://node7:4000"}}));
  ASSERT_TRUE(launch.ok()) << launch.status().text();
  EXPECT_EQ(launch.value().launcher, Launcher::kTutti);
  EXPECT_EQ(launch.value().rank, 2);
  EXPECT_EQ(launch.value().nranks, 4);
  EXPECT_EQ(launch.value().local_rank, 0);
  EXPECT_EQ(launch.value().host, "node7:4000");
  EXPECT_EQ(launch.value().folder, "");
  EXPECT_FALSE(launch.value().one_host);
}

TEST(ReadLaunch, AFolder) {
  const auto launch = read_launch(with(
      {{"TUTTI_RANK", "0"}, {"TUTTI_NRANKS", "2"}, {"TUTTI_RENDEZVOUS", "file:///tmp/meet here"}}));
  ASSERT_TRUE(launch.ok()) << launch.status().text();
  EXPECT_EQ(launch.value().folder, "/tmp/meet here");
  EXPECT_EQ(launch.value().host, "");
}

TEST(ReadLaunch, TorchrunUsesThePortAfterItsOwn) {
  const auto launch = read_launch(with({{"RANK", "1"},
                                        {"WORLD_SIZE", "2"},
                                        {"LOCAL_RANK", "1"},
                                        {"LOCAL_WORLD_SIZE", "2"},
                                        {"MASTER_ADDR", "10.1.2.3"},
                                        {"MASTER_PORT", "29500"}}));
  ASSERT_TRUE(launch.ok()) << launch.status().text();
  EXPECT_EQ(launch.value().launcher, Launcher::kTorchrun);
  EXPECT_EQ(launch.value().host, "10.1.2.3:29501");
  EXPECT_TRUE(launch.value().one_host);
  EXPECT_EQ(launch.value().local_rank, 1);
}

TEST(ReadLaunch, TorchrunOnSeveralHosts) {
  const auto launch = read_launch(with({{"RANK", "1"},
                                        {"WORLD_SIZE", "4"},
                                        {"LOCAL_WORLD_SIZE", "2"},
                                        {"MASTER_ADDR", "::1"},
                                        {"MASTER_PORT", "29500"}}));
  ASSERT_TRUE(launch.ok()) << launch.status().text();
  EXPECT_EQ(launch.value().host, "[::1]:29501");
  EXPECT_FALSE(launch.value().one_host);
}

TEST(ReadLaunch, TuttiRunGoesFirst) {
  const Variables all = {
      {"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"RANK", "0"},
      {"WORLD_SIZE", "3"},           {"MASTER_ADDR", "localhost"},  {"MASTER_PORT", "1000"},
      {"TUTTI_RANK", "0"},           {"TUTTI_NRANKS", "1"}};
  EXPECT_EQ(read_launch(with(all)).value().launcher, Launcher::kTutti);
  EXPECT_EQ(read_launch(with({all.begin(), all.begin() + 6})).value().launcher,
            Launcher::kTorchrun);
  EXPECT_EQ(read_launch(with({all.begin(), all.begin() + 5})).status().code(),
            Code::kInvalidArgument);  // without MASTER_PORT
  EXPECT_EQ(read_launch(with({all.begin(), all.begin() + 2})).value().launcher, Launcher::kOpenMpi);
}

TEST(ReadLaunch, NamesWhatIsWrong) {
  const std::pair<Variables, std::string> cases[] = {
      {{{"TUTTI_RANK", "0"}}, "TUTTI_NRANKS is not set"},
      {{{"TUTTI_NRANKS", "2"}}, "TUTTI_RANK is not set"},
      {{{"TUTTI_RANK", "2"}, {"TUTTI_NRANKS", "2"}},
       "TUTTI_RANK: expected a number from 0 to 1, got \"2\""},
      {{{"TUTTI_RANK", "-1"}, {"TUTTI_NRANKS", "2"}}, "got \"-1\""},
      {{{"TUTTI_RANK", "0"}, {"TUTTI_NRANKS", "2x"}}, "got \"2x\""},
      {{{"TUTTI_RANK", "0"}, {"TUTTI_NRANKS", "0"}}, "TUTTI_NRANKS: expected"},
      {{{"TUTTI_RANK", "0"}, {"TUTTI_NRANKS", "2"}}, "TUTTI_RENDEZVOUS is not set"},
      {{{"TUTTI_RANK", "0"}, {"TUTTI_NRANKS", "2"}, {"TUTTI_RENDEZVOUS", "file://relative"}},
       "got \"file://relative\""},
      {{{"TUTTI_RANK", "0"}, {"TUTTI_NRANKS", "2"}, {"TUTTI_RENDEZVOUS", "udp://a:1"}},
       "expected tcp://HOST:PORT"},
      {{{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "65535"}},
       "MASTER_PORT"}};
  for (const auto& [variables, text] : cases) {
    const auto launch = read_launch(with(variables));
    ASSERT_FALSE(launch.ok()) << text;
    EXPECT_EQ(launch.status().code(), Code::kInvalidArgument);
    EXPECT_NE(launch.status().text().find(text), std::string::npos) << launch.status().text();
  }
  EXPECT_EQ(read_launch(with({})).status().code(), Code::kInvalidUsage);
}

class JobSecretTest : public testing::Test {
 protected:
  void SetUp() override {
    launch_.nranks = 2;
    // Unique, since the shared file is named after it.
    launch_.host = "127.0.0.1:" + folder_;
  }
  void TearDown() override { unlink(secret_file_of(launch_).c_str()); }
  std::string write(const char* text, mode_t mode) {
    std::string path = folder_ + "/secret";
    std::ofstream(path) << text;
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return path;
  }
  Result<JobSecret> ask(Variables variables, int64_t patience_ms = 0) {
    return job_secret(launch_, with(std::move(variables)), true,
                      {Deadline::after_ns(patience_ms * 1'000'000), nullptr});
  }
  const TempFolder temp_;
  const std::string& folder_ = temp_.path();
  Launch launch_;
};

TEST_F(JobSecretTest, FromTheEnvironment) {
  const auto secret = ask({{"TUTTI_SECRET", kSecret}});
  ASSERT_TRUE(secret.ok());
  EXPECT_EQ(secret.value().secret, *parse_secret(kSecret));
  EXPECT_EQ(ask({{"TUTTI_SECRET", "0011"}}).status().code(), Code::kInvalidArgument);
}

TEST_F(JobSecretTest, FromAPrivateFile) {
  const auto secret =
      ask({{"TUTTI_SECRET_FILE", write((std::string(kSecret) + "\n").c_str(), 0600)}});
  ASSERT_TRUE(secret.ok()) << secret.status().text();
  EXPECT_EQ(secret.value().secret, *parse_secret(kSecret));
}

TEST_F(JobSecretTest, AFileThatOthersCanReadIsRefused) {
  const auto secret = ask({{"TUTTI_SECRET_FILE", write(kSecret, 0640)}});
  EXPECT_EQ(secret.status().code(), Code::kAuthFailed);
  EXPECT_NE(secret.status().text().find("got mode 0640"), std::string::npos);
  EXPECT_EQ(ask({{"TUTTI_SECRET_FILE", folder_ + "/none"}}).status().code(), Code::kSystemError);
  EXPECT_EQ(ask({{"TUTTI_SECRET_FILE", write("short", 0600)}}).status().code(),
            Code::kInvalidArgument);
}

TEST_F(JobSecretTest, RanksOfOneHostShareAFile) {
  const auto made = ask({});
  ASSERT_TRUE(made.ok()) << made.status().text();
  struct stat facts;
  ASSERT_EQ(stat(secret_file_of(launch_).c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
  launch_.rank = 1;
  const auto read = ask({}, 1000);
  ASSERT_TRUE(read.ok()) << read.status().text();
  EXPECT_EQ(read.value().secret, made.value().secret);
  EXPECT_FALSE(read.value().guessable);
}

TEST_F(JobSecretTest, WithoutRank0ThereIsNone) {
  launch_.rank = 1;
  const auto secret = ask({}, 30);
  EXPECT_EQ(secret.status().code(), Code::kTimeout);
  EXPECT_NE(secret.status().text().find("rank 0 has not made"), std::string::npos);
}

TEST_F(JobSecretTest, SeveralHostsMustHaveOne) {
  launch_.one_host = false;
  const auto none = ask({});
  EXPECT_EQ(none.status().code(), Code::kAuthFailed);
  EXPECT_NE(none.status().text().find("TUTTI_SECRET"), std::string::npos);
  const auto insecure = ask({{"TUTTI_INSECURE_BOOTSTRAP", "1"}});
  ASSERT_TRUE(insecure.ok());
  EXPECT_TRUE(insecure.value().guessable);
  EXPECT_FALSE(ask({{"TUTTI_INSECURE_BOOTSTRAP", "0"}}).ok());
}

}  // namespace
}  // namespace tutti
