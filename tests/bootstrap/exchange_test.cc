// Exchanges by a given function and through a folder.
#include "comm/bootstrap/exchange.h"

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include "comm/bootstrap/callback_exchange.h"
#include "comm/bootstrap/file_exchange.h"
#include "tests/support/temp_folder.h"

namespace tutti {
namespace {

const Secret kSecret = {1, 2, 3};

Patience patience(int64_t ms) { return {Deadline::after_ns(ms * 1'000'000), nullptr}; }

TEST(NameRanks, ShortAndLong) {
  EXPECT_EQ(name_ranks({3}), "rank 3");
  EXPECT_EQ(name_ranks({1, 2}), "ranks 1, 2");
  EXPECT_EQ(name_ranks({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}),
            "ranks 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
}

// An all-gather among "ranks" that all give what rank 0 gives.
CallbackExchange::AllGather copies(int nranks) {
  return [nranks](const void* mine, void* all, size_t bytes) {
    for (int r = 0; r < nranks; ++r) {
      std::memcpy(static_cast<char*>(all) + static_cast<size_t>(r) * bytes, mine, bytes);
    }
    return Status();
  };
}

TEST(CallbackExchange, AnyLength) {
  CallbackExchange exchange(1, 3, copies(3));
  for (const std::string& text : {std::string(), std::string("x"), std::string(100'000, 'y')}) {
    const auto all = exchange.all_gather(text, {});
    ASSERT_TRUE(all.ok()) << all.status().text();
    EXPECT_EQ(all.value(), std::vector<std::string>(3, text));
  }
}

TEST(CallbackExchange, ErrorsOfTheFunctionComeThrough) {
  CallbackExchange exchange(0, 2, [](const void*, void*, size_t) {
    return error(Code::kSystemError, "no network today");
  });
  EXPECT_EQ(exchange.all_gather("x", {}).status().text(), "no network today");
}

TEST(CallbackExchange, AFunctionThatDoesSomethingElseIsFound) {
  CallbackExchange exchange(0, 2, [](const void*, void* all, size_t bytes) {
    std::memset(all, 0x11, 2 * bytes);
    return Status();
  });
  EXPECT_EQ(exchange.all_gather("x", {}).status().code(), Code::kMismatch);
}

class FileExchangeTest : public testing::Test {
 protected:
  void SetUp() override { alarm(60); }
  void TearDown() override { alarm(0); }
  const TempFolder temp_;
  const std::string& folder_ = temp_.path();
};

// Several ranks and rounds, each on a thread that runs `before` first.
void three_rounds(const std::string& folder, const std::function<void()>& before) {
  constexpr int kRanks = 4;
  std::vector<std::thread> ranks;
  std::vector<int> good(kRanks, 0);
  for (int r = 0; r < kRanks; ++r) {
    ranks.emplace_back([&, r] {
      before();
      FileExchange exchange(folder, r, kRanks, kSecret);
      for (int round = 0; round < 3; ++round) {
        const auto all =
            exchange.all_gather(std::string(static_cast<size_t>(r * round), 'a'), patience(20'000));
        if (!all.ok()) return;
        for (int s = 0; s < kRanks; ++s) {
          if (all.value()[static_cast<size_t>(s)] ==
              std::string(static_cast<size_t>(s * round), 'a')) {
            ++good[static_cast<size_t>(r)];
          }
        }
      }
    });
  }
  for (std::thread& t : ranks) t.join();
  EXPECT_EQ(good, std::vector<int>(kRanks, 3 * kRanks));
}

// From now on link() fails for this thread, as it does on a file system without hard links. False
// where the kernel does not let us.
bool forbid_links() {
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
  const uint32_t calls[] = {
#ifdef SYS_link
      SYS_link,
#endif
      SYS_linkat};
  for (const uint32_t call : calls) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_F(FileExchangeTest, ThreeRounds) {
  three_rounds(folder_, [] {});
}

TEST_F(FileExchangeTest, WithoutHardLinks) {
  std::atomic<bool> can{true};
  three_rounds(folder_, [&] {
    if (!forbid_links()) can = false;
  });
  if (!can) GTEST_SKIP() << "no seccomp here";
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/round-0-rank-0-of-4.claim"));
  std::thread again([this] {
    EXPECT_TRUE(forbid_links());
    const auto used = FileExchange(folder_, 1, 4, kSecret).all_gather("x", patience(1));
    EXPECT_EQ(used.status().code(), Code::kInvalidUsage);
    EXPECT_NE(used.status().text().find("another process is rank 1 too"), std::string::npos);
  });
  again.join();
  // Files that were linked are noticed as well, and no drafts stay behind.
  std::filesystem::remove(folder_ + "/round-0-rank-2-of-4.claim");
  std::thread linked([this] {
    EXPECT_TRUE(forbid_links());
    const auto used = FileExchange(folder_, 2, 4, kSecret).all_gather("x", patience(1));
    EXPECT_EQ(used.status().code(), Code::kInvalidUsage);
  });
  linked.join();
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    EXPECT_EQ(entry.path().string().find("draft"), std::string::npos) << entry.path();
  }
}

TEST_F(FileExchangeTest, AbsentRanksAreNamed) {
  FileExchange exchange(folder_, 1, 4, kSecret);
  const auto all = exchange.all_gather("x", patience(20));
  EXPECT_EQ(all.status().code(), Code::kTimeout);
  EXPECT_NE(all.status().text().find("ranks 0, 2, 3"), std::string::npos) << all.status().text();
}

TEST_F(FileExchangeTest, AnotherSecretIsRefused) {
  EXPECT_EQ(FileExchange(folder_, 0, 2, Secret{9}).all_gather("x", patience(1)).status().code(),
            Code::kTimeout);
  const auto all = FileExchange(folder_, 1, 2, kSecret).all_gather("y", patience(1000));
  EXPECT_EQ(all.status().code(), Code::kAuthFailed);
  EXPECT_NE(all.status().text().find("round-0-rank-0-of-2"), std::string::npos);
}

TEST_F(FileExchangeTest, AForgedFileIsRefused) {
  std::ofstream(folder_ + "/round-0-rank-0-of-2") << std::string(500, 'z');
  const auto all = FileExchange(folder_, 1, 2, kSecret).all_gather("y", patience(1000));
  EXPECT_EQ(all.status().code(), Code::kAuthFailed);
}

TEST_F(FileExchangeTest, AFolderServesOneJob) {
  EXPECT_FALSE(FileExchange(folder_, 0, 2, kSecret).all_gather("x", patience(1)).ok());
  const auto again = FileExchange(folder_, 0, 2, kSecret).all_gather("x", patience(1));
  EXPECT_EQ(again.status().code(), Code::kInvalidUsage);
  EXPECT_EQ(
      FileExchange(folder_ + "/none", 0, 2, kSecret).all_gather("x", patience(1)).status().code(),
      Code::kSystemError);
}

TEST_F(FileExchangeTest, AbortEndsTheWait) {
  const std::atomic<bool> abort{true};
  const auto all =
      FileExchange(folder_, 0, 2, kSecret).all_gather("x", {Deadline::never(), &abort});
  EXPECT_EQ(all.status().code(), Code::kAborted);
}

}  // namespace
}  // namespace tutti
