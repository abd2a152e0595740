// What shm promises beyond the seam: who is let in, what segments and regions are, what a process
// leaves behind, and what peers may do with one another's memory.
#include "transports/shm/shm.h"

#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/transports/conformance.h"
#include "transports/shm/block_pool.h"
#include "transports/shm/regions.h"
#include "transports/shm/segment.h"

namespace tutti {
namespace {

// --- segments, regions, blocks ---

TEST(ShmSegment, IsZeroAlignedAndSealed) {
  for (size_t alignment : {size_t{4096}, size_t{2} << 20}) {
    Result<Segment> made = Segment::create(5'000'000, alignment);
    ASSERT_TRUE(made.ok()) << made.status().text();
    const Segment segment = std::move(made.value());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(segment.base()) % alignment, 0u);
    EXPECT_EQ(segment.bytes() % 4096, 0u);
    EXPECT_EQ(segment.base()[4'999'999], std::byte{0});
    EXPECT_EQ(ftruncate(segment.fd(), 4096), -1) << "a peer must not take pages away";
    EXPECT_EQ(ftruncate(segment.fd(), 1 << 30), -1);
  }
}

TEST(ShmSegment, AdoptsOnlyWhatIsSealedAndLongEnough) {
  Result<Segment> made = Segment::create(8192, 4096);
  ASSERT_TRUE(made.ok());
  made.value().base()[5000] = std::byte{7};
  Result<Segment> other = Segment::adopt(UniqueFd(dup(made.value().fd())), 8192);
  ASSERT_TRUE(other.ok()) << other.status().text();
  EXPECT_EQ(other.value().base()[5000], std::byte{7});
  EXPECT_EQ(Segment::adopt(UniqueFd(dup(made.value().fd())), 8193).status().code(),
            Code::kInvalidArgument);
  UniqueFd open_ended(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(open_ended.get(), 8192), 0);
  EXPECT_EQ(Segment::adopt(std::move(open_ended), 8192).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Segment::adopt(UniqueFd(), 8192).status().code(), Code::kInvalidArgument);
}

TEST(ShmSegment, DiscardedPagesAreZerosForEverybody) {
  Result<Segment> made = Segment::create(4096, 4096);
  ASSERT_TRUE(made.ok());
  Result<void*> other = made.value().map(0, 4096);
  ASSERT_TRUE(other.ok());
  made.value().base()[0] = std::byte{1};
  made.value().discard();
  EXPECT_EQ(*static_cast<std::byte*>(other.value()), std::byte{0});
  munmap(other.value(), 4096);
}

TEST(ShmRegions, FindsWhatLiesInside) {
  OwnRegions regions;
  auto* a = static_cast<std::byte*>(regions.add(10'000).value());
  auto* b = static_cast<std::byte*>(regions.add(100).value());
  const RegionPlace at_b = regions.find(b + 50, 50);
  EXPECT_NE(at_b.generation, 0u);
  EXPECT_EQ(at_b.offset, 50u);
  EXPECT_NE(at_b.slot, regions.find(a, 1).slot);
  EXPECT_EQ(regions.find(a + 12'000, 500).generation, 0u) << "reaches beyond the last page";
  int outside = 0;
  EXPECT_EQ(regions.find(&outside, 4).generation, 0u);
  const RegionFile file = regions.file(at_b.slot, at_b.generation);
  EXPECT_GE(file.fd, 0);
  EXPECT_EQ(file.offset, 0u);
  EXPECT_EQ(file.bytes, 4096u);
  EXPECT_FALSE(regions.remove(b + 8)) << "only as a whole";
  EXPECT_TRUE(regions.remove(b));
  EXPECT_FALSE(regions.remove(b));
  EXPECT_EQ(regions.file(at_b.slot, at_b.generation).fd, -1);
  auto* c = static_cast<std::byte*>(regions.add(100).value());
  EXPECT_EQ(regions.find(c, 1).slot, at_b.slot) << "numbers are used again";
  EXPECT_NE(regions.find(c, 1).generation, at_b.generation) << "and told apart";
}

TEST(ShmRegions, HaveALimit) {
  OwnRegions regions;
  std::vector<void*> all;
  for (uint32_t i = 0; i < kMaxRegions; ++i) {
    Result<void*> made = regions.add(1);
    if (!made.ok()) GTEST_SKIP() << "descriptors ran out first: " << made.status().text();
    all.push_back(made.value());
  }
  EXPECT_EQ(regions.add(1).status().code(), Code::kOutOfMemory);
  EXPECT_TRUE(regions.remove(all[3]));
  EXPECT_TRUE(regions.add(1).ok());
}

// What a peer has mapped of the stretch that holds an address.
std::byte* peer_view(const OwnRegions& regions, const std::byte* at) {
  const RegionPlace place = regions.find(at, 1);
  const RegionFile file = regions.file(place.slot, place.generation);
  void* base = mmap(nullptr, file.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd,
                    static_cast<off_t>(file.offset));
  EXPECT_NE(base, MAP_FAILED);
  return static_cast<std::byte*>(base) + place.offset;
}

TEST(ShmRegions, DetachedPagesKeepContentsAndAddress) {
  OwnRegions regions;
  constexpr size_t kPages = 10;
  constexpr size_t kBytes = kPages * 4096;
  auto* base = static_cast<std::byte*>(regions.add(kBytes).value());
  const std::vector<std::byte> wanted = pattern(1, kBytes);
  std::memcpy(base, wanted.data(), kBytes);
  std::byte* before = peer_view(regions, base);
  const uint64_t since = regions.detaches();
  // From the middle of page 3 to the middle of page 5.
  ASSERT_TRUE(regions.detach(base + 3 * 4096 + 100, 2 * 4096).ok());
  EXPECT_EQ(std::memcmp(base, wanted.data(), kBytes), 0);
  std::fill_n(before, kBytes, std::byte{0xEE});
  for (size_t page = 0; page < kPages; ++page) {
    const bool ours = page >= 3 && page <= 5;
    const std::byte want = ours ? wanted[page * 4096] : std::byte{0xEE};
    EXPECT_EQ(base[page * 4096], want) << page;
    // Whoever maps it now sees what we see.
    std::byte* now = peer_view(regions, base + page * 4096);
    *now = std::byte{0x11};
    EXPECT_EQ(base[page * 4096], std::byte{0x11}) << page;
  }
  EXPECT_EQ(regions.find(base + 2 * 4096, 2 * 4096).generation, 0u) << "in two regions";
  EXPECT_TRUE(regions.is_detached(base, kBytes, since));
  EXPECT_FALSE(regions.is_detached(base, 3 * 4096, since));
  EXPECT_FALSE(regions.is_detached(base, kBytes, regions.detaches()));
  // Again, over the seams.
  ASSERT_TRUE(regions.detach(base, kBytes).ok());
  EXPECT_EQ(base[0], std::byte{0x11});
  EXPECT_TRUE(regions.remove(base));
  EXPECT_FALSE(regions.remove(base));
  EXPECT_EQ(regions.find(base, 1).generation, 0u);
}

TEST(ShmBlockPool, KeepsBlocksAndHasALimit) {
  OwnRegions regions;
  BlockPool pool(&regions);
  void* first = pool.take(1000);
  ASSERT_NE(first, nullptr);
  pool.give(first);
  EXPECT_EQ(pool.take(2000), first) << "used again";
  void* large = pool.take(BlockPool::kMostBytes);
  EXPECT_EQ(large, nullptr) << "too much with what is out";
  pool.give(first);
  large = pool.take(2 * BlockPool::kMostBytes);
  ASSERT_NE(large, nullptr) << "alone it may be larger";
  EXPECT_EQ(pool.take(1), nullptr);
  pool.give(large);
  EXPECT_NE(pool.take(1), nullptr);
}

// --- who is let in ---

std::unique_ptr<Transport> open_endpoint(int number, const Secret& secret = {},
                                         int64_t connect_ns = 200'000'000) {
  ShmOptions options;
  options.connect_ns = connect_ns;
  auto made = ShmTransport::open(number, secret, options);
  EXPECT_TRUE(made.ok()) << made.status().text();
  return std::move(made.value());
}

TEST(Shm, AddressesAreChecked) {
  auto t = open_endpoint(1);
  const std::string good = open_endpoint(0)->address();
  for (const std::string& bad :
       {std::string(), std::string("shm1:"), good + "x", good.substr(0, good.size() - 1),
        "shm2" + good.substr(4), std::string("inproc:1")}) {
    EXPECT_EQ(t->connect(5, bad).code(), Code::kInvalidArgument) << bad.size();
  }
}

TEST(Shm, AnEndpointThatIsNotHereIsNamed) {
  auto t = open_endpoint(0);
  std::string gone = open_endpoint(1)->address();
  const Status status = t->connect(7, gone);
  EXPECT_EQ(status.code(), Code::kUnsupported);
  EXPECT_NE(status.text().find("peer 7"), std::string::npos) << status.text();
  auto late = open_endpoint(2);
  const Status waited = late->connect(0, t->address());
  EXPECT_EQ(waited.code(), Code::kTimeout) << "0 has not connected to it";
  EXPECT_NE(waited.text().find("peer 0"), std::string::npos) << waited.text();
}

TEST(Shm, ConnectingTwiceIsFineElsewhereIsNot) {
  Endpoints endpoints;
  for (int i = 0; i < 3; ++i) endpoints.push_back(open_endpoint(i));
  connect_all(endpoints);
  EXPECT_TRUE(endpoints[0]->connect(1, endpoints[1]->address()).ok());
  EXPECT_EQ(endpoints[0]->connect(1, endpoints[2]->address()).code(), Code::kInvalidUsage);
}

TEST(Shm, WithoutTheSecretNobodyIsLetIn) {
  Secret wrong = {};
  wrong[3] = 1;
  auto host = open_endpoint(1);
  auto stranger = open_endpoint(0, wrong);
  EXPECT_TRUE(stranger->connect(1, host->address()).ok()) << "it is never answered";
  EXPECT_EQ(host->connect(0, stranger->address()).code(), Code::kTimeout);
}

TEST(Shm, MessagesToOneself) {
  auto t = open_endpoint(0);
  ASSERT_TRUE(t->connect(0, t->address()).ok());
  Endpoints endpoints;
  endpoints.push_back(std::move(t));
  Pipe pipe = open_pipe(endpoints, 0, 0);
  for (size_t bytes : {10, 200, 5000}) {
    std::vector<std::byte> out = pattern(bytes, bytes);
    ASSERT_TRUE(send_bytes(*endpoints[0], *pipe.send, out));
    EXPECT_EQ(take_message(*endpoints[0], *pipe.recv, bytes).data, out);
  }
}

// --- memory ---

class ShmPair : public testing::Test {
 protected:
  void SetUp() override {
    alarm(100);
    for (int i = 0; i < 2; ++i) endpoints_.push_back(open_endpoint(i));
    connect_all(endpoints_);
    pipe_ = open_pipe(endpoints_, 0, 1);
  }
  void TearDown() override { alarm(0); }

  Endpoints endpoints_;
  Pipe pipe_;
};

TEST_F(ShmPair, MappedMemoryIsShownWhereItLiesPlainMemoryIsFetched) {
  const Block block(*endpoints_[0], 100'000);
  const std::vector<std::byte> wanted = pattern(1, 100'000);
  std::memcpy(block.data(), wanted.data(), wanted.size());
  const iovec part = block.part();
  ASSERT_TRUE(pipe_.send->post_send(nullptr, &part, 1));
  const Message* message = pipe_.recv->view();
  ASSERT_NE(message, nullptr);
  ASSERT_NE(message->parts, nullptr);
  EXPECT_EQ(bytes_of(*pipe_.recv, *message), wanted);
  block.data()[77] = std::byte{1};
  EXPECT_EQ(static_cast<const std::byte*>(message->parts[0].iov_base)[77], std::byte{1});
  pipe_.recv->release();

  std::vector<std::byte> plain = wanted;
  ASSERT_TRUE(send_bytes(*endpoints_[0], *pipe_.send, plain));
  message = pipe_.recv->view();
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(message->parts, nullptr);
  EXPECT_EQ(bytes_of(*pipe_.recv, *message), wanted);
  pipe_.recv->release();
}

TEST_F(ShmPair, ManyPartsOfBothKinds) {
  const Block block(*endpoints_[0], 64'000);
  const std::vector<std::byte> wanted = pattern(1, 128'000);
  std::memcpy(block.data(), wanted.data(), 64'000);
  std::vector<std::byte> plain(wanted.begin() + 64'000, wanted.end());
  for (size_t nparts : {2, 10, 11, 128}) {
    std::vector<iovec> parts;
    const size_t each = 128'000 / nparts / 2 * 2;
    for (size_t at = 0; at < 128'000;) {
      std::byte* from = at < 64'000 ? block.data() + at : plain.data() + at - 64'000;
      const size_t end = at < 64'000 ? 64'000 : 128'000;
      const size_t bytes = std::min(each, end - at);
      parts.push_back({from, bytes});
      at += bytes;
    }
    ASSERT_TRUE(pipe_.send->post_send(nullptr, parts.data(), static_cast<int>(parts.size())));
    const Message* message = pipe_.recv->view();
    ASSERT_NE(message, nullptr);
    ASSERT_EQ(message->bytes, wanted.size());
    EXPECT_EQ(bytes_of(*pipe_.recv, *message), wanted) << nparts;
    pipe_.recv->release();
  }
}

TEST_F(ShmPair, MemoryComesAndGoes) {
  for (uint64_t round = 0; round < 3000; ++round) {
    const Block block(*endpoints_[0], 5000);
    const std::vector<std::byte> wanted = pattern(round, 5000);
    std::memcpy(block.data(), wanted.data(), wanted.size());
    const iovec part = block.part();
    ASSERT_TRUE(pipe_.send->post_send(nullptr, &part, 1));
    const Message* message = pipe_.recv->view();
    ASSERT_NE(message, nullptr);
    ASSERT_EQ(bytes_of(*pipe_.recv, *message), wanted) << round;
    pipe_.recv->release();
  }
}

// The kernel of the peer never ends, as far as this side can wait for it.
TEST_F(ShmPair, MemoryThatAPeerMayStillWriteIsReplaced) {
  const Block block(*endpoints_[1], 100'000);
  const std::vector<std::byte> wanted = pattern(1, 100'000);
  std::memcpy(block.data(), wanted.data(), wanted.size());
  pipe_.recv->offer(0, block.data() + 5000, 50'000, 7);
  auto gate = std::move(endpoints_[0]->open_gate(make_key(0).comm).value());
  ASSERT_TRUE(gate->enter());
  auto* placed = static_cast<std::byte*>(pipe_.send->place(50'000, 7));
  ASSERT_NE(placed, nullptr);
  endpoints_[1]->abort(make_key(0).comm);
  std::fill_n(placed, 50'000, std::byte{0xEE});
  gate->leave();
  EXPECT_EQ(std::memcmp(block.data(), wanted.data(), wanted.size()), 0);
  EXPECT_FALSE(pipe_.send->post_placed(nullptr, 50'000)) << "the communicator has ended";
  EXPECT_EQ(endpoints_[1]->still_lent(make_key(0).comm), "");
}

// Another communicator has lost the page in which this one expects a message.
TEST_F(ShmPair, AMessagePlacedIntoReplacedPagesIsNotTaken) {
  const Block block(*endpoints_[1], 8192);
  ChannelKey key = make_key(1);
  key.comm += 5;
  auto send = std::move(endpoints_[0]->open_send(key).value());
  key.peer = 0;
  auto recv = std::move(endpoints_[1]->open_recv(key).value());
  recv->offer(0, block.data() + 4096, 4096, 9);
  pipe_.recv->offer(0, block.data(), 5000, 7);
  auto gate = std::move(endpoints_[0]->open_gate(make_key(0).comm).value());
  ASSERT_TRUE(gate->enter());
  endpoints_[1]->abort(make_key(0).comm);
  gate->leave();
  ASSERT_NE(send->place(4096, 9), nullptr);
  ASSERT_TRUE(send->post_placed(nullptr, 4096));
  const Message* message = recv->view();
  ASSERT_NE(message, nullptr);
  EXPECT_FALSE(message->placed);
  EXPECT_EQ(message->parts, nullptr);
  std::byte to[4096];
  EXPECT_EQ(recv->fetch(0, to, sizeof(to)).code(), Code::kRemoteError);
}

TEST_F(ShmPair, OffersOfPlainMemoryAreNotMade) {
  std::vector<std::byte> base(5000);
  pipe_.recv->offer(0, base.data(), base.size(), 1);
  EXPECT_EQ(pipe_.send->place(base.size(), 1), nullptr);
}

// --- processes ---

// A child that is endpoint 1 of two: connects, opens both channels, then does `work`.
template <typename Work>
pid_t start_peer(int to_parent, int from_parent, Work work) {
  const pid_t child = fork();
  if (child != 0) return child;
  alarm(60);
  auto made = ShmTransport::open(1, {});
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
    endpoints_.push_back(open_endpoint(0));
    const std::string address = endpoints_[0]->address();
    ASSERT_EQ(write(down[1], address.data(), address.size()),
              static_cast<ssize_t>(address.size()));
    const Status status = endpoints_[0]->connect(1, {theirs, static_cast<size_t>(got)});
    ASSERT_TRUE(status.ok()) << status.text();
    for (int fd : {up[0], up[1], down[0], down[1]}) close(fd);
    send_ = std::move(endpoints_[0]->open_send(make_key(1)).value());
    recv_ = std::move(endpoints_[0]->open_recv(make_key(1)).value());
  }

  pid_t child_ = 0;
  Endpoints endpoints_;
  std::unique_ptr<SendChannel> send_;
  std::unique_ptr<RecvChannel> recv_;
};

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

TEST_F(ShmProcesses, MessagesOfAllSizesGoThereAndBack) {
  ASSERT_NO_FATAL_FAILURE(start(echo));
  for (size_t bytes : {0, 1, 32, 33, 256, 257, 4096, 100'000, 3'000'000}) {
    std::vector<std::byte> out = pattern(bytes, bytes);
    ASSERT_TRUE(send_bytes(*endpoints_[0], *send_, out));
    EXPECT_EQ(take_message(*endpoints_[0], *recv_, bytes).data, out) << bytes;
    const Block block(*endpoints_[0], bytes + 1);
    std::memcpy(block.data(), out.data(), bytes);
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
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
  child_ = 0;
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
  std::ifstream sockets("/proc/net/unix");
  for (std::string line; std::getline(sockets, line);) {
    EXPECT_EQ(line.find("tutti-shm"), std::string::npos) << line;
  }
}

TEST_F(ShmProcesses, WhatAPeerHadSentBeforeItLeftArrives) {
  ASSERT_NO_FATAL_FAILURE(start([](Transport& transport, SendChannel& send, RecvChannel&) {
    std::vector<std::byte> out = pattern(5, 200);
    if (!send_bytes(transport, send, out)) _exit(7);
  }));
  waitpid(child_, nullptr, 0);
  child_ = 0;
  EXPECT_EQ(take_message(*endpoints_[0], *recv_, 200).data, pattern(5, 200));
  Status status;
  ASSERT_TRUE(wait_for(*endpoints_[0], [&] { return !(status = recv_->health()).ok(); }));
}

TEST_F(ShmProcesses, FetchingFromAPeerThatHasDiedFails) {
  ASSERT_NO_FATAL_FAILURE(start([](Transport& transport, SendChannel& send, RecvChannel&) {
    std::vector<std::byte> out = pattern(5, 50'000);
    if (!send_bytes(transport, send, out)) _exit(7);
    pause();
  }));
  const Message* message = nullptr;
  ASSERT_TRUE(wait_for(*endpoints_[0], [&] { return (message = recv_->view()) != nullptr; }));
  ASSERT_EQ(message->parts, nullptr);
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
  child_ = 0;
  std::vector<std::byte> in(50'000);
  EXPECT_EQ(recv_->fetch(0, in.data(), in.size()).code(), Code::kRemoteError);
}

}  // namespace
}  // namespace tutti
