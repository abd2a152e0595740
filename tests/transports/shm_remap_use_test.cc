// Remapped memory in use: between endpoints, and when the process forks.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "tests/transports/pages.h"
#include "tests/transports/shm_endpoint.h"
#include "transports/shm/regions.h"

namespace tutti {
namespace {

// --- fork ---

// Runs fn() in a child, as the process would fork, and returns how it exited: 0 when it was true.
template <typename Function>
int in_child(OwnRegions& regions, Function fn) {
  regions.before_fork();
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    regions.after_fork_in_child();
    _exit(fn() ? 0 : 1);
  }
  regions.after_fork_in_parent();
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

class ShmRemapFork : public testing::Test {
 protected:
  static constexpr size_t kBytes = 8 * kPage;
  void SetUp() override {
    std::memcpy(pages_.data(), wanted_.data(), kBytes);
    made_ = regions_.remap(pages_.data(), kBytes);
    ASSERT_TRUE(made_.ok()) << made_.status().text();
  }
  bool holds(const std::byte* at, size_t pages) const {
    return std::memcmp(at, wanted_.data() + (at - pages_.data()), pages * kPage) == 0;
  }

  OwnRegions regions_;
  const Pages pages_{kBytes};
  const std::vector<std::byte> wanted_ = pattern(6, kBytes);
  Result<void*> made_ = static_cast<void*>(nullptr);
};

TEST_F(ShmRemapFork, AChildReadsWhatWasThereAndWritesForItself) {
  std::byte* const data = pages_.data();
  ASSERT_TRUE(regions_.detach(data + 5 * kPage, kPage).ok());
  EXPECT_EQ(in_child(regions_,
                     [&] {
                       const bool same = holds(data, 8);
                       std::fill_n(data, kBytes, std::byte{0xEE});
                       return same && data[kBytes - 1] == std::byte{0xEE};
                     }),
            0);
  EXPECT_TRUE(holds(data, 8));
  EXPECT_EQ(access_of(data), "rw-s") << "peers go on mapping it";
  EXPECT_NE(regions_.find(data, 5 * kPage).generation, 0u);
  ASSERT_TRUE(regions_.restore(made_.value()).ok());
  EXPECT_TRUE(holds(data, 8));
}

TEST_F(ShmRemapFork, AChildOfTheChildHasWhatTheChildHad) {
  std::byte* const data = pages_.data();
  EXPECT_EQ(in_child(regions_,
                     [&] {
                       std::fill_n(data, kPage, std::byte{0xEE});
                       const pid_t child = fork();
                       if (child == 0) {
                         regions_.after_fork_in_child();  // as the handler, which every child calls
                         _exit(data[0] == std::byte{0xEE} && holds(data + kPage, 7) ? 0 : 1);
                       }
                       int status = -1;
                       return waitpid(child, &status, 0) == child && status == 0;
                     }),
            0);
  EXPECT_TRUE(holds(data, 8));
}

// What the parent gives back while a child lives, the child goes on reading.
TEST_F(ShmRemapFork, AChildOutlivesTheRegistration) {
  int go[2];
  ASSERT_EQ(pipe(go), 0);
  regions_.before_fork();
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    regions_.after_fork_in_child();
    close(go[1]);
    char nothing;
    _exit(read(go[0], &nothing, 1) == 0 && holds(pages_.data(), 8) ? 0 : 1);
  }
  regions_.after_fork_in_parent();
  const Status status = regions_.restore(made_.value());
  EXPECT_TRUE(status.ok()) << status.text();
  std::fill_n(pages_.data(), kBytes, std::byte{0xAA});
  for (int fd : go) close(fd);
  int exited = -1;
  EXPECT_EQ(waitpid(child, &exited, 0), child);
  EXPECT_EQ(exited, 0);
}

// A child from before has its copy, as of any private memory.
TEST(ShmRemap, ForkedBefore) {
  OwnRegions regions;
  const Pages pages(4 * kPage);
  std::fill_n(pages.data(), 4 * kPage, std::byte{5});
  int go[2];
  ASSERT_EQ(pipe(go), 0);
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    close(go[1]);
    char nothing;
    const bool told = read(go[0], &nothing, 1) == 0;
    _exit(told && pages.data()[0] == std::byte{5} ? 0 : 1);
  }
  ASSERT_TRUE(regions.remap(pages.data(), 4 * kPage).ok());
  pages.data()[0] = std::byte{6};
  for (int fd : go) close(fd);
  int exited = -1;
  EXPECT_EQ(waitpid(child, &exited, 0), child);
  EXPECT_EQ(exited, 0);
  EXPECT_EQ(pages.data()[0], std::byte{6});
}

// --- between endpoints ---

class ShmRemapPair : public ShmPair {
 protected:
  static constexpr size_t kBytes = 5'000'000;
  // Sends it and gives it back; whether the receiver saw it where it lies.
  bool is_seen_in_place(std::byte* data, size_t bytes) {
    const iovec part{data, bytes};
    EXPECT_TRUE(pipe_.send->post_send(nullptr, &part, 1));
    const Message* message = pipe_.recv->view();
    EXPECT_NE(message, nullptr);
    bool in_place = message != nullptr && message->parts != nullptr;
    for (int value = 1; in_place && value <= 2; ++value) {
      data[77] = static_cast<std::byte>(value);
      in_place = static_cast<const std::byte*>(message->parts[0].iov_base)[77] == data[77];
    }
    EXPECT_TRUE(pipe_.recv->release());
    return in_place;
  }
};

TEST_F(ShmRemapPair, MessagesAreSeenWhereTheyLieUntilDeregistered) {
  const Malloced memory(kBytes);
  std::memset(memory.data, 3, kBytes);
  std::byte* const inside = memory.data + kPage;
  const size_t bytes = kBytes - 2 * kPage;
  Transport& owner = *endpoints_[0];
  EXPECT_FALSE(is_seen_in_place(inside, bytes));
  for (int turn = 0; turn < 3; ++turn) {
    uint64_t window = 0;
    const Status status = owner.register_memory(memory.data, kBytes, true, &window);
    ASSERT_TRUE(status.ok()) << status.text();
    EXPECT_TRUE(is_seen_in_place(inside, bytes));
    EXPECT_TRUE(is_seen_in_place(inside, 1000)) << "short ones too";
    uint64_t again = 0;
    EXPECT_EQ(owner.register_memory(memory.data, kBytes, true, &again).code(),
              Code::kInvalidArgument);
    ASSERT_TRUE(owner.register_memory(memory.data, kBytes, false, &again).ok());
    EXPECT_TRUE(owner.deregister_memory(again).ok());
    EXPECT_TRUE(is_seen_in_place(inside, bytes)) << "the other registration changes nothing";
    EXPECT_TRUE(owner.deregister_memory(window).ok());
    EXPECT_EQ(owner.deregister_memory(window).code(), Code::kInvalidArgument);
    EXPECT_FALSE(is_seen_in_place(inside, bytes));
  }
}

TEST_F(ShmRemapPair, PeersWriteToItWhereItIsOffered) {
  std::vector<std::byte> memory(kBytes);
  Transport& owner = *endpoints_[1];
  uint64_t window = 0;
  pipe_.recv->offer(0, memory.data() + kPage, 1000, 7);
  EXPECT_EQ(pipe_.send->place(1000, 7), nullptr) << "nobody can map it";
  ASSERT_TRUE(owner.register_memory(memory.data(), kBytes, true, &window).ok());
  pipe_.recv->offer(0, memory.data() + kPage, 1000, 8);
  void* const to = pipe_.send->place(1000, 8);
  ASSERT_NE(to, nullptr);
  std::memset(to, 9, 1000);
  ASSERT_TRUE(pipe_.send->post_placed(nullptr, 1000));
  ASSERT_NE(pipe_.recv->view(), nullptr);
  EXPECT_TRUE(pipe_.recv->release());
  EXPECT_EQ(memory[kPage + 999], std::byte{9});
  ASSERT_TRUE(owner.deregister_memory(window).ok());
  EXPECT_EQ(memory[kPage + 999], std::byte{9});
}

TEST_F(ShmRemapPair, AnEndpointThatGoesGivesItBack) {
  std::vector<std::byte> memory(kBytes, std::byte{4});
  uint64_t window = 0;
  ASSERT_TRUE(endpoints_[0]->register_memory(memory.data(), kBytes, true, &window).ok());
  EXPECT_EQ(access_of(memory.data() + kPage), "rw-s");
  pipe_ = {};
  endpoints_.clear();
  EXPECT_EQ(access_of(memory.data() + kPage), "rw-p");
  EXPECT_EQ(memory, std::vector<std::byte>(kBytes, std::byte{4}));
}

}  // namespace
}  // namespace tutti
