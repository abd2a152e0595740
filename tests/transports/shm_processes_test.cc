// Shm between processes: what they leave behind, and what becomes of the others when one of them is
// killed, leaves or is stopped.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <random>
#include <sys/wait.h>

#include "comm/base/clock.h"
#include "tests/transports/shm_endpoint.h"
#include "transports/shm/shm.h"
#include "transports/shm/wire.h"

namespace tutti {
namespace {

constexpr size_t kStoppedBytes = 100'000;

// A child that is endpoint 1 of two: connects, opens both channels, then does `work`.
template <typename Work>
pid_t start_peer(int to_parent, int from_parent, Work work) {
  const pid_t child = fork();
  if (child != 0) return child;
  alarm(60);
  auto made = ShmTransport::open(1, {}, std::make_shared<OwnRegions>());
  const std::string address = made.ok() ? made.value()->address() : "";
  char theirs[256];
  if (write(to_parent, address.data(), address.size()) < 0) _exit(3);
  const ssize_t got = read(from_parent, theirs, sizeof(theirs));
  if (got <= 0) _exit(4);
  if (!made.value()->connect(0, {theirs, static_cast<size_t>(got)}).ok()) _exit(5);
  auto send = made.value()->open_send(make_key(0));
  auto recv = made.value()->open_recv(make_key(0));
  if (!send.ok() || !recv.ok()) _exit(6);
  work(*made.value(), *send.value(), *recv.value());
  _exit(0);
}

class ShmProcesses : public testing::Test {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override {
    alarm(0);
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
  }
  template <typename Work>
  void start(Work work) {
    int up[2];
    int down[2];
    ASSERT_EQ(pipe(up), 0);
    ASSERT_EQ(pipe(down), 0);
    child_ = start_peer(up[1], down[0], work);
    ASSERT_GT(child_, 0);
    char theirs[256];
    const ssize_t got = read(up[0], theirs, sizeof(theirs));
    ASSERT_GT(got, 0);
    endpoints_.push_back(open_endpoint(0, {}, 20'000'000'000));
    const std::string address = endpoints_[0]->address();
    ASSERT_EQ(write(down[1], address.data(), address.size()), static_cast<ssize_t>(address.size()));
    names_ = {ShmAddress::decode(address)->socket_name(),
              ShmAddress::decode({theirs, static_cast<size_t>(got)})->socket_name()};
    Status status = endpoints_[0]->connect(1, {theirs, static_cast<size_t>(got)});
    ASSERT_TRUE(status.ok()) << status.text();
    status = endpoints_[0]->settle();
    ASSERT_TRUE(status.ok()) << status.text();
    for (int fd : {up[0], up[1], down[0], down[1]}) close(fd);
    send_ = std::move(endpoints_[0]->open_send(make_key(1)).value());
    recv_ = std::move(endpoints_[0]->open_recv(make_key(1)).value());
  }

  void end_child(int signal) {
    kill(child_, signal);
    waitpid(child_, nullptr, 0);
    child_ = 0;
  }
  // The peer is stopped in the middle of a write into memory of ours, past our patience, and then
  // goes on. `data` makes that memory, of our endpoint.
  template <typename Data>
  void stop_inside_a_placed_write(Data data);

  // Nothing of both endpoints is left in the name space of sockets. (Segments have no name.)
  void expect_no_names() {
    std::ifstream sockets("/proc/net/unix");
    for (std::string line; std::getline(sockets, line);) {
      for (const std::string& name : names_) EXPECT_EQ(line.find(name), std::string::npos) << line;
    }
  }

  pid_t child_ = 0;
  std::vector<std::string> names_;  // of the sockets
  Endpoints endpoints_;
  std::unique_ptr<SendChannel> send_;
  std::unique_ptr<RecvChannel> recv_;
};

// What must be as before once the endpoints of this process are gone.
size_t num_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<size_t>(std::distance(all, {}));
}

size_t num_segments_mapped() {
  std::ifstream maps("/proc/self/maps");
  size_t n = 0;
  for (std::string line; std::getline(maps, line);) {
    n += line.find("memfd:tutti") != std::string::npos ? 1 : 0;
  }
  return n;
}

// 20, or as many as the environment says (CMakeLists.txt).
int kill_rounds() {
  const char* given = std::getenv("TUTTI_TEST_KILLS");
  return given != nullptr ? std::atoi(given) : 20;
}

// Sends back what it gets, for ever.
void echo(Transport& transport, SendChannel& send, RecvChannel& recv) {
  std::vector<std::byte> data;
  for (;;) {
    const Message* message = nullptr;
    if (!wait_for(transport, [&] { return (message = recv.view()) != nullptr; })) _exit(7);
    data = bytes_of(recv, *message);
    recv.release();
    if (!send_bytes(transport, send, data)) _exit(8);
    if (!wait_for(transport, [&] { return send.sent() == send.posted(); })) _exit(9);
  }
}

// One message of some size, from plain memory and from mapped, and whatever there is to take.
void talk_once(Transport& transport, SendChannel& send, RecvChannel& recv) {
  static thread_local std::vector<std::byte> plain(40'000);
  static thread_local uint64_t turn = 0;
  constexpr size_t kSizes[] = {8, 100, 1000, 40'000};
  const iovec part{plain.data(), kSizes[++turn % 4]};
  (void)send.post_send(nullptr, &part, 1);
  recv.offer(recv.received() + 1, plain.data(), plain.size(), 7);
  const Message* message = recv.view();
  if (message != nullptr) {
    static thread_local std::vector<std::byte> taken(40'000);
    if (message->parts == nullptr) (void)recv.fetch(0, taken.data(), message->bytes);
    (void)recv.release();
  }
  transport.progress();
}

void talk(Transport& transport, SendChannel& send, RecvChannel& recv) {
  for (uint64_t order = 1;; order = order % 50 + 1) {
    const auto another = transport.open_send(make_key(0, order));  // takes the lock of the link
    talk_once(transport, send, recv);
  }
}

TEST_F(ShmProcesses, MessagesOfAllSizesGoThereAndBack) {
  ASSERT_NO_FATAL_FAILURE(start(echo));
  for (size_t bytes : {0, 1, 32, 33, 256, 257, 4096, 100'000, 3'000'000}) {
    std::vector<std::byte> out = pattern(bytes, bytes);
    ASSERT_TRUE(send_bytes(*endpoints_[0], *send_, out));
    EXPECT_EQ(take_message(*endpoints_[0], *recv_, bytes).data, out) << bytes;
    const Block block(*endpoints_[0], bytes + 1);
    std::copy(out.begin(), out.end(), block.data());
    const iovec part{block.data(), bytes};
    ASSERT_TRUE(wait_for(*endpoints_[0], [&] { return send_->post_send(nullptr, &part, 1); }));
    EXPECT_EQ(take_message(*endpoints_[0], *recv_, bytes).data, out) << bytes << " mapped";
  }
}

TEST_F(ShmProcesses, AKilledPeerIsNamedAndLeavesNoName) {
  ASSERT_NO_FATAL_FAILURE(start(echo));
  std::vector<std::byte> out = pattern(1, 100);
  ASSERT_TRUE(send_bytes(*endpoints_[0], *send_, out));
  EXPECT_EQ(take_message(*endpoints_[0], *recv_, 100).data, out);
  end_child(SIGKILL);
  Status status;
  ASSERT_TRUE(wait_for(*endpoints_[0], [&] { return !(status = recv_->health()).ok(); }));
  EXPECT_EQ(status.code(), Code::kRemoteError);
  EXPECT_NE(status.text().find("peer 1 is gone"), std::string::npos) << status.text();
  EXPECT_FALSE(send_->health().ok());
  EXPECT_EQ(endpoints_[0]->open_send(make_key(1, 5)).status().code(), Code::kRemoteError);
  // What it lent went with it.
  std::vector<std::byte> more = pattern(2, 1000);
  (void)send_bytes(*endpoints_[0], *send_, more);
  send_.reset();
  recv_.reset();
  endpoints_.clear();
  expect_no_names();
}

// With messages of all kinds on their way, rings half full, locks held.
TEST_F(ShmProcesses, KilledAtAnyMoment) {
  std::minstd_rand random(std::random_device{}());
  const size_t descriptors = num_descriptors();
  const size_t mapped = num_segments_mapped();
  const int rounds = kill_rounds();
  alarm(100 + static_cast<unsigned>(rounds));
  for (int round = 0; round < rounds; ++round) {
    ASSERT_NO_FATAL_FAILURE(start(talk));
    const Deadline end = Deadline::after_ns(static_cast<int64_t>(random() % 10'000'000));
    while (!end.expired(now_ns())) talk_once(*endpoints_[0], *send_, *recv_);
    end_child(SIGKILL);
    Status status;
    ASSERT_TRUE(wait_for(*endpoints_[0], [&] {
      talk_once(*endpoints_[0], *send_, *recv_);
      return !(status = recv_->health()).ok();
    }));
    EXPECT_EQ(status.code(), Code::kRemoteError);
    endpoints_[0]->abort(make_key(0).comm);
    send_.reset();
    recv_.reset();
    endpoints_.clear();
    expect_no_names();
    ASSERT_EQ(num_descriptors(), descriptors);
    ASSERT_EQ(num_segments_mapped(), mapped);
  }
}

template <typename Data>
void ShmProcesses::stop_inside_a_placed_write(Data data) {
  ASSERT_NO_FATAL_FAILURE(start([](Transport& transport, SendChannel& send, RecvChannel&) {
    auto gate = std::move(transport.open_gate(make_key(0).comm).value());
    std::byte* to = nullptr;
    if (!wait_for(transport, [&] {
          to = static_cast<std::byte*>(send.place(kStoppedBytes, 7));
          return to != nullptr;
        })) {
      _exit(7);
    }
    if (!gate->enter()) _exit(8);
    std::fill_n(to, kStoppedBytes / 2, std::byte{0x11});
    raise(SIGSTOP);
    std::fill_n(to + kStoppedBytes / 2, kStoppedBytes / 2, std::byte{0x22});
    gate->leave();
    if (send.post_placed(nullptr, kStoppedBytes) || gate->enter()) _exit(9);
  }));
  std::byte* const ours = data(*endpoints_[0]);
  recv_->offer(0, ours, kStoppedBytes, 7);
  int status = 0;
  ASSERT_EQ(waitpid(child_, &status, WUNTRACED), child_);
  ASSERT_TRUE(WIFSTOPPED(status)) << status;
  const int64_t start_ns = now_ns();
  endpoints_[0]->abort(make_key(0).comm);
  EXPECT_LT(now_ns() - start_ns, 5'000'000'000);
  EXPECT_EQ(endpoints_[0]->still_lent(make_key(0).comm), "");
  EXPECT_EQ(ours[0], std::byte{0x11}) << "what it had written stays";
  std::fill_n(ours, kStoppedBytes, std::byte{0xAA});  // ours again
  kill(child_, SIGCONT);
  ASSERT_EQ(waitpid(child_, &status, 0), child_);
  child_ = 0;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  for (size_t i = 0; i < kStoppedBytes; ++i) ASSERT_EQ(ours[i], std::byte{0xAA}) << i;
}

TEST_F(ShmProcesses, StoppedInsideAPlacedWrite) {
  std::unique_ptr<Block> block;
  ASSERT_NO_FATAL_FAILURE(stop_inside_a_placed_write([&](Transport& transport) {
    block = std::make_unique<Block>(transport, kStoppedBytes);
    return block->data();
  }));
  block.reset();
}

// The pages were the caller's, become shared, are detached, and become the caller's again.
TEST_F(ShmProcesses, StoppedInsideAPlacedWriteToRemappedMemory) {
  std::vector<std::byte> memory(2 * kStoppedBytes);
  // In the middle of it, so that only whole pages are touched.
  std::byte* const ours = memory.data() + kStoppedBytes / 2;
  uint64_t window = 0;
  ASSERT_NO_FATAL_FAILURE(stop_inside_a_placed_write([&](Transport& transport) {
    const Status status = transport.register_memory(memory.data(), memory.size(), true, &window);
    EXPECT_TRUE(status.ok()) << status.text();
    return ours;
  }));
  const Status status = endpoints_[0]->deregister_memory(window);
  EXPECT_TRUE(status.ok()) << status.text();
  for (size_t i = 0; i < kStoppedBytes; ++i) ASSERT_EQ(ours[i], std::byte{0xAA}) << i;
}

TEST_F(ShmProcesses, WhatAPeerHadSentBeforeItLeftArrives) {
  ASSERT_NO_FATAL_FAILURE(start([](Transport& transport, SendChannel& send, RecvChannel&) {
    std::vector<std::byte> out = pattern(5, 200);
    if (!send_bytes(transport, send, out)) _exit(7);
  }));
  end_child(0);
  EXPECT_EQ(take_message(*endpoints_[0], *recv_, 200).data, pattern(5, 200));
  Status status;
  ASSERT_TRUE(wait_for(*endpoints_[0], [&] { return !(status = recv_->health()).ok(); }));
}

// Its end is read from the socket on the way to its memory, and told all the same.
TEST_F(ShmProcesses, DeathIsSeenOnTheWayToItsMemory) {
  ASSERT_NO_FATAL_FAILURE(start([](Transport& transport, SendChannel& send, RecvChannel&) {
    const Block block(transport, 50'000);
    const iovec part = block.part();
    if (!send.post_send(nullptr, &part, 1)) _exit(7);
    raise(SIGKILL);
  }));
  int status = 0;
  ASSERT_EQ(waitpid(child_, &status, 0), child_);
  child_ = 0;
  (void)recv_->view();
  ASSERT_TRUE(wait_for(*endpoints_[0], [&] { return !recv_->health().ok(); }));
}

// A child of the peer, which has inherited its sockets.
TEST_F(ShmProcesses, DeathIsSeenThoughAChildLives) {
  if (!kernel_watches_processes()) GTEST_SKIP() << "pidfd_open is forbidden here";
  int life[2];  // the child's child lives until we close our end
  ASSERT_EQ(pipe(life), 0);
  ASSERT_NO_FATAL_FAILURE(start([life](Transport&, SendChannel&, RecvChannel&) {
    if (fork() == 0) {
      close(life[1]);
      char nothing;
      _exit(read(life[0], &nothing, 1) == 0 ? 0 : 1);
    }
    raise(SIGKILL);
  }));
  close(life[0]);
  const UniqueFd end_of_life(life[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child_, &status, 0), child_);
  child_ = 0;
  ASSERT_TRUE(wait_for(
      *endpoints_[0], [&] { return !recv_->health().ok(); }, 5000));
}

TEST_F(ShmProcesses, FetchingFromAPeerThatHasDiedFails) {
  if (!kernel_reads_processes()) GTEST_SKIP() << "process_vm_readv is forbidden here";
  ASSERT_NO_FATAL_FAILURE(start([](Transport& transport, SendChannel& send, RecvChannel& recv) {
    // By then the parent has found out that it may read here.
    if (!wait_for(transport, [&] { return recv.view() != nullptr; })) _exit(6);
    std::vector<std::byte> out = pattern(5, 5'000'000);
    if (!send_bytes(transport, send, out)) _exit(7);
    pause();
  }));
  std::vector<std::byte> go(1);
  ASSERT_TRUE(send_bytes(*endpoints_[0], *send_, go));
  const Message* message = nullptr;
  ASSERT_TRUE(wait_for(*endpoints_[0], [&] { return (message = recv_->view()) != nullptr; }));
  ASSERT_EQ(message->parts, nullptr);
  end_child(SIGKILL);
  std::vector<std::byte> in(5'000'000);
  EXPECT_EQ(recv_->fetch(0, in.data(), in.size()).code(), Code::kRemoteError);
}

}  // namespace
}  // namespace tutti
