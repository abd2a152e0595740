// What shm promises beyond the seam, between endpoints of one process: who is let in, and what
// peers may do with one another's memory.
#include "transports/shm/shm.h"

#include <atomic>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/transports/shm_endpoint.h"

namespace tutti {
namespace {

// --- who is let in ---

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
  EXPECT_EQ(stranger->open_send(make_key(1)).status().code(), Code::kRemoteError);
  const Status alone = stranger->settle();
  EXPECT_EQ(alone.code(), Code::kRemoteError);
  EXPECT_NE(alone.text().find("peer 1"), std::string::npos) << alone.text();
}

// A stranger of the same user, who knows nothing: what it sends leaves nothing behind.
TEST(Shm, DescriptorsOfStrangersAreClosed) {
  auto host = open_endpoint(1, {}, 50'000'000);
  auto peer = open_endpoint(0);
  const std::string name = ShmAddress::decode(host->address())->socket_name();
  sockaddr_un to = {};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path + 1, name.data(), name.size());
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_files();
  for (size_t bytes : {sizeof(ShmRecord), size_t{7}, size_t{200}}) {
    const UniqueFd stranger(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    ASSERT_EQ(connect(stranger.get(), reinterpret_cast<sockaddr*>(&to),
                      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())),
              0);
    std::vector<char> noise(bytes, 1);
    iovec part{noise.data(), bytes};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char room[CMSG_SPACE(8 * sizeof(int))] = {};
    message.msg_control = room;
    message.msg_controllen = sizeof(room);
    cmsghdr* control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(8 * sizeof(int));
    for (size_t i = 0; i < 8; ++i) {
      const int fd = stranger.get();
      std::memcpy(CMSG_DATA(control) + i * sizeof(int), &fd, sizeof(int));
    }
    ASSERT_EQ(sendmsg(stranger.get(), &message, 0), static_cast<ssize_t>(bytes));
  }
  EXPECT_EQ(host->connect(0, peer->address()).code(), Code::kTimeout) << "it has not called";
  EXPECT_EQ(open_files(), before);
}

TEST(Shm, AbortedWhileConnecting) {
  std::atomic<bool> abort{true};
  ShmOptions options;
  options.patience.abort = &abort;
  auto host = std::move(ShmTransport::open(1, {}, std::make_shared<OwnRegions>(), options).value());
  auto peer = open_endpoint(0);
  EXPECT_EQ(host->connect(0, peer->address()).code(), Code::kAborted);
}

// Every rank sends to all others before it receives: nobody may wait for somebody's memory.
TEST(Shm, LongMessagesToAllWhereTheKernelForbidsReading) {
  constexpr size_t kBytes = 40'000'000;
  Endpoints endpoints;
  for (int i = 0; i < 3; ++i) {
    ShmOptions options;
    options.read_peers = false;
    options.buffer_cap = size_t{128} << 20;
    endpoints.push_back(
        std::move(ShmTransport::open(i, {}, std::make_shared<OwnRegions>(), options).value()));
  }
  connect_all(endpoints);
  std::vector<Pipe> pipes;
  std::vector<std::byte> out = pattern(3, kBytes);
  for (int from = 0; from < 3; ++from) {
    for (int to = 0; to < 3; ++to) {
      if (from == to) continue;
      pipes.push_back(open_pipe(endpoints, from, to));
      ASSERT_TRUE(send_bytes(*endpoints[static_cast<size_t>(from)], *pipes.back().send, out));
    }
  }
  for (const Pipe& pipe : pipes) {
    const Message* message = pipe.recv->view();
    ASSERT_NE(message, nullptr);
    EXPECT_EQ(bytes_of(*pipe.recv, *message), out);
    pipe.recv->release();
  }
}

// Two endpoints of one process and a cap that holds one copy. What has no room waits while others
// come back, and is refused when none does: the peer may be waiting for it before it gives any
// back.
TEST(Shm, CopiesBeyondTheCapWaitThenFail) {
  constexpr size_t kBytes = 500'000;
  constexpr size_t kCap = 600'000;
  const auto regions = std::make_shared<OwnRegions>();
  const auto blocks = std::make_shared<BlockPool>(regions, 300'000'000);
  Endpoints endpoints;
  for (int i = 0; i < 3; ++i) {
    ShmOptions options;
    options.read_peers = false;
    options.buffer_cap = kCap;
    options.blocks = blocks;
    endpoints.push_back(std::move(ShmTransport::open(i, {}, regions, options).value()));
  }
  connect_all(endpoints);
  const Pipe first = open_pipe(endpoints, 0, 2);
  const Pipe second = open_pipe(endpoints, 1, 2);
  std::vector<std::byte> out = pattern(3, kBytes);
  const iovec part = part_of(out);
  ASSERT_TRUE(first.send->post_send(nullptr, &part, 1));
  EXPECT_FALSE(second.send->post_send(nullptr, &part, 1)) << "one pool for the process";
  EXPECT_TRUE(second.send->health().ok()) << second.send->health().text();
  ASSERT_NE(first.recv->view(), nullptr);
  EXPECT_TRUE(first.recv->release());
  EXPECT_EQ(first.send->sent(), 1u) << "an idle channel keeps no copy";
  ASSERT_TRUE(second.send->post_send(nullptr, &part, 1));
  EXPECT_FALSE(first.send->post_send(nullptr, &part, 1));
  EXPECT_TRUE(wait_for(*endpoints[0], [&] {
    return !first.send->post_send(nullptr, &part, 1) && !first.send->health().ok();
  }));
  const Status refused = first.send->health();
  EXPECT_EQ(refused.code(), Code::kOutOfMemory);
  for (const char* word : {"500000 bytes", "peer 2", "TUTTI_BUFFER_CAP", "600000"}) {
    EXPECT_NE(refused.text().find(word), std::string::npos) << word << ": " << refused.text();
  }
  const Message* message = second.recv->view();
  ASSERT_NE(message, nullptr) << "what found room arrives";
  EXPECT_EQ(bytes_of(*second.recv, *message), out);
  EXPECT_LE(blocks->bytes(), kCap);
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

TEST_F(ShmPair, PlainMemoryIsSentAtOnceAndStaysWhenTheEndIsOpenedAgain) {
  std::vector<std::vector<std::byte>> contents;
  const auto send = [&](size_t bytes) {
    contents.push_back(pattern(static_cast<int>(contents.size()), bytes));
    std::vector<std::byte> source = contents.back();
    const iovec parts[] = {{source.data(), 100}, {source.data() + 100, bytes - 100}};
    ASSERT_TRUE(pipe_.send->post_send(nullptr, parts, 2));
    std::fill_n(source.data(), bytes, std::byte{0});
  };
  for (const size_t bytes : {4096, 300, 4000}) send(bytes);
  EXPECT_EQ(pipe_.send->sent(), 3u);
  pipe_.send.reset();
  pipe_.send = std::move(endpoints_[0]->open_send(make_key(1)).value());
  for (const size_t bytes : {4096, 4096, 4096}) send(bytes);
  EXPECT_EQ(pipe_.send->sent(), 0u) << "staged while the spill may be full of earlier messages";
  for (const std::vector<std::byte>& wanted : contents) {
    const Message* message = pipe_.recv->view();
    ASSERT_NE(message, nullptr);
    ASSERT_EQ(message->bytes, wanted.size());
    ASSERT_EQ(message->nparts, 1);
    EXPECT_EQ(std::memcmp(message->parts[0].iov_base, wanted.data(), wanted.size()), 0);
    ASSERT_TRUE(pipe_.recv->release());
  }
}

TEST_F(ShmPair, MappedMemoryIsShownWhereItLiesPlainMemoryIsFetched) {
  if (!kernel_reads_processes()) GTEST_SKIP() << "process_vm_readv is forbidden here";
  const Block block(*endpoints_[0], 5'000'000);
  const std::vector<std::byte> wanted = pattern(1, 5'000'000);
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
  const Block block(*endpoints_[0], 4'096'000);
  const std::vector<std::byte> wanted = pattern(1, 8'192'000);
  std::memcpy(block.data(), wanted.data(), 4'096'000);
  std::vector<std::byte> plain(wanted.begin() + 4'096'000, wanted.end());
  for (size_t nparts : {2, 10, 11, 128}) {
    std::vector<iovec> parts;
    const size_t each = 8'192'000 / nparts / 2 * 2;
    for (size_t at = 0; at < 8'192'000;) {
      std::byte* from = at < 4'096'000 ? block.data() + at : plain.data() + at - 4'096'000;
      const size_t end = at < 4'096'000 ? 4'096'000 : 8'192'000;
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

// Since the first abort() the memory has been the caller's again.
TEST_F(ShmPair, MemoryIsReplacedOnce) {
  const Block block(*endpoints_[1], 8192);
  pipe_.recv->offer(0, block.data(), 8192, 7);
  auto gate = std::move(endpoints_[0]->open_gate(make_key(0).comm).value());
  ASSERT_TRUE(gate->enter());
  endpoints_[1]->abort(make_key(0).comm);
  const iovec part = block.part();
  Pipe other = open_pipe(endpoints_, 1, 0, 0, 99);
  ASSERT_TRUE(other.send->post_send(nullptr, &part, 1));
  const Message* message = other.recv->view();
  ASSERT_NE(message, nullptr);
  ASSERT_NE(message->parts, nullptr);
  endpoints_[1]->abort(make_key(0).comm);
  block.data()[5] = std::byte{42};
  EXPECT_EQ(static_cast<const std::byte*>(message->parts[0].iov_base)[5], std::byte{42})
      << "the peer sees the pages that the caller writes";
  gate->leave();
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
  EXPECT_EQ(message->nparts, 0);
  std::byte to[4096];
  EXPECT_EQ(recv->fetch(0, to, sizeof(to)).code(), Code::kRemoteError);
  EXPECT_EQ(recv->health().code(), Code::kRemoteError);
  EXPECT_EQ(recv->view(), nullptr) << "it is not there";
}

TEST_F(ShmPair, OffersOfPlainMemoryAreNotMade) {
  std::vector<std::byte> base(5000);
  pipe_.recv->offer(0, base.data(), base.size(), 1);
  EXPECT_EQ(pipe_.send->place(base.size(), 1), nullptr);
}

}  // namespace
}  // namespace tutti
