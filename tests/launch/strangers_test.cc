// A job that comes together while strangers knock at its rendezvous.
#include <gtest/gtest.h>
#include <random>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "tutti/tutti.h"

#include "comm/base/unique_fd.h"
#include "comm/bootstrap/job_id.h"
#include "comm/bootstrap/tcp_exchange.h"

namespace tutti {
namespace {

UniqueFd knock(const SocketAddress& where) {
  UniqueFd fd(socket(where.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(fd.get(), where.get(), where.length()), 0);
  return fd;
}

void send_random(const SocketAddress& where, std::mt19937* random, size_t bytes) {
  const UniqueFd fd = knock(where);
  std::string noise(bytes, '\0');
  for (char& c : noise) c = static_cast<char>((*random)());
  (void)!send(fd.get(), noise.data(), noise.size(), MSG_NOSIGNAL);
}

class StrangersTest : public testing::Test {
 protected:
  void SetUp() override {
    alarm(100);
    ASSERT_EQ(tuttiGetUniqueId(&id_), tuttiSuccess);
    const auto job = JobId::decode({id_.internal, sizeof id_.internal});
    ASSERT_TRUE(job.ok());
    where_ = job.value().candidates[0];
  }
  void TearDown() override { alarm(0); }

  // Both ranks join and add up; the second one only after `between`.
  template <typename Between>
  void expect_job_works(Between between) {
    const auto rank = [this](int r) {
      tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
      config.timeout_seconds = 60;
      tuttiComm_t comm = nullptr;
      ASSERT_EQ(tuttiCommInitRankConfig(&comm, 2, id_, r, &config), tuttiSuccess)
          << tuttiGetLastError(nullptr);
      int sum = r + 1;
      EXPECT_EQ(tuttiAllReduce(&sum, &sum, 1, tuttiInt32, tuttiSum, comm, nullptr), tuttiSuccess);
      EXPECT_EQ(sum, 3);
      EXPECT_EQ(tuttiCommFinalize(comm), tuttiSuccess);
      EXPECT_EQ(tuttiCommDestroy(comm), tuttiSuccess);
    };
    std::thread first(rank, 0);
    between();
    std::thread second(rank, 1);
    first.join();
    second.join();
  }

  tuttiUniqueId id_;
  SocketAddress where_;
};

TEST_F(StrangersTest, RandomBytes) {
  expect_job_works([this] {
    std::mt19937 random(1);
    for (size_t bytes = 1; bytes < 100'000; bytes *= 3) send_random(where_, &random, bytes);
  });
}

TEST_F(StrangersTest, TwoHundredIdleConnections) {
  std::vector<UniqueFd> idle;
  expect_job_works([&] {
    for (int i = 0; i < 200; ++i) idle.push_back(knock(where_));
  });
}

TEST_F(StrangersTest, APortScan) {
  expect_job_works([this] {
    for (int i = 0; i < 300; ++i) knock(where_).reset();
  });
}

TEST_F(StrangersTest, AWrongSecret) {
  expect_job_works([this] {
    for (int i = 0; i < 20; ++i) {
      const auto exchange = TcpExchange::join({where_}, Secret{9, 9, 9}, 1, 2,
                                              {Deadline::after_ns(10'000'000'000), nullptr});
      EXPECT_EQ(exchange.status().code(), Code::kAuthFailed);
    }
  });
}

}  // namespace
}  // namespace tutti
