// What inproc promises beyond the seam: which messages are borrowed, what an endpoint may do with
// memory, how rings live and die, counters across opening again. Also the list of built-ins.
#include "transports/inproc/inproc.h"

#include <gtest/gtest.h>
#include <limits>

#include "tests/transports/conformance.h"
#include "transports/builtin.h"

namespace tutti {
namespace {

class Inproc : public testing::Test {
 protected:
  void SetUp() override {
    alarm(100);
    domain_ = InprocDomain::create();
    for (int i = 0; i < 2; ++i) {
      endpoints_.push_back(std::make_unique<InprocTransport>(domain_, i));
    }
    connect_all(endpoints_);
  }
  void TearDown() override { alarm(0); }

  std::shared_ptr<InprocDomain> domain_;
  Endpoints endpoints_;
};

TEST_F(Inproc, InlineIsSentAtOnceLentIsNot) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  std::vector<std::byte> few = pattern(1, kInlineBytes);
  std::vector<std::byte> many = pattern(2, kInlineBytes + 1);
  const iovec small = part_of(few);
  const iovec large = part_of(many);
  // inline, lent, inline, lent: sent() stops at the first message that is lent.
  for (const iovec& part : {small, large, small, large}) {
    ASSERT_TRUE(pipe.send->post_send(nullptr, &part, 1));
  }
  std::fill(few.begin(), few.end(), std::byte{0});
  const uint64_t wanted[] = {1, 3, 3, 4};
  EXPECT_EQ(pipe.send->sent(), 1u);
  for (uint64_t n = 0; n < 4; ++n) {
    const Message* message = pipe.recv->view();
    ASSERT_NE(message, nullptr);
    EXPECT_EQ(pipe.send->sent(), n == 0 ? 1 : wanted[n - 1]) << "while " << n << " is viewed";
    const auto& source = n % 2 == 0 ? pattern(1, kInlineBytes) : many;
    EXPECT_EQ(std::memcmp(message->parts[0].iov_base, source.data(), source.size()), 0);
    if (n % 2 == 1) {
      EXPECT_EQ(message->parts[0].iov_base, many.data()) << "shown where it lies";
    }
    pipe.recv->release();
    EXPECT_EQ(pipe.send->sent(), wanted[n]);
    EXPECT_EQ(pipe.send->consumed(), n + 1);
  }
}

// Of ranks that share cores the sender does not wait for its reader's turn.
TEST(InprocCrowded, CopiedWhileThereIsRoom) {
  const std::shared_ptr<InprocDomain> domain = InprocDomain::create();
  Endpoints endpoints;
  for (int i = 0; i < 2; ++i) {
    endpoints.push_back(std::make_unique<InprocTransport>(domain, i, true));
  }
  connect_all(endpoints);
  Pipe pipe = open_pipe(endpoints, 0, 1);
  constexpr uint64_t kFitting = kSpillBytes / kSpilledBytes;
  std::vector<std::byte> bytes = pattern(1, kSpilledBytes);
  const std::vector<std::byte> wanted = bytes;
  const iovec part = part_of(bytes);
  for (uint64_t n = 0; n <= kFitting; ++n) ASSERT_TRUE(pipe.send->post_send(nullptr, &part, 1));
  EXPECT_EQ(pipe.send->sent(), kFitting) << "the last one is lent";
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  for (uint64_t n = 0; n <= kFitting; ++n) {
    const Message* message = pipe.recv->view();
    ASSERT_NE(message, nullptr);
    ASSERT_EQ(message->nparts, 1);
    const auto& expected = n < kFitting ? wanted : bytes;
    EXPECT_EQ(std::memcmp(message->parts[0].iov_base, expected.data(), expected.size()), 0) << n;
    pipe.recv->release();
  }
  EXPECT_EQ(pipe.send->sent(), kFitting + 1);
}

TEST_F(Inproc, SentIsExactForEveryMixOfLentAndInline) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  std::vector<std::byte> bytes(kInlineBytes + 1);
  std::vector<bool> lent;
  uint64_t random = 12345;
  uint64_t consumed = 0;
  for (int step = 0; step < 20'000; ++step) {
    random = random * 6364136223846793005 + 1442695040888963407;
    const uint32_t draw = static_cast<uint32_t>(random >> 40);
    if (draw % 2 == 0) {
      const bool lend = draw % 16 == 0;
      const iovec part{bytes.data(), lend ? bytes.size() : 8};
      const bool room = lent.size() - consumed < kRingSlots;
      ASSERT_EQ(pipe.send->post_send(nullptr, &part, 1), room);
      if (room) lent.push_back(lend);
    } else if (pipe.recv->view() != nullptr) {
      pipe.recv->release();
      ++consumed;
    }
    uint64_t wanted = consumed;
    while (wanted < lent.size() && !lent[wanted]) ++wanted;
    ASSERT_EQ(pipe.send->sent(), wanted);
  }
}

TEST_F(Inproc, PartsAreShownWhereTheyLie) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  std::vector<std::byte> bytes = pattern(1, 3000);
  const iovec parts[] = {{bytes.data(), 1000}, {bytes.data() + 1000, 2000}};
  ASSERT_TRUE(pipe.send->post_send(nullptr, parts, 2));
  const Message* message = pipe.recv->view();
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(message->parts, parts);
  EXPECT_EQ(message->nparts, 2);
  EXPECT_EQ(message->bytes, 3000u);
  pipe.recv->release();
}

TEST_F(Inproc, RingsDoNotLeak) {
  for (uint64_t i = 0; i < 100'000; ++i) {
    auto send = endpoints_[0]->open_send(make_key(1, i));
    if (i % 2 == 0) auto recv = endpoints_[1]->open_recv(make_key(0, i));
    ASSERT_LE(domain_->ring_pairs(), 1u);
  }
  EXPECT_EQ(domain_->ring_pairs(), 0u);
}

TEST_F(Inproc, RingsAreFreedWhenTheLastEndCloses) {
  Pipe there = open_pipe(endpoints_, 0, 1);
  Pipe back = open_pipe(endpoints_, 1, 0);
  EXPECT_EQ(domain_->ring_pairs(), 1u) << "both directions share one pair";
  there.send.reset();
  back.send.reset();
  there.recv.reset();
  EXPECT_EQ(domain_->ring_pairs(), 1u);
  back.recv.reset();
  EXPECT_EQ(domain_->ring_pairs(), 0u);
}

TEST_F(Inproc, AnEndIsOpenedOnceAtATime) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  EXPECT_EQ(endpoints_[0]->open_send(make_key(1)).status().code(), Code::kInvalidUsage);
  EXPECT_EQ(endpoints_[1]->open_recv(make_key(0)).status().code(), Code::kInvalidUsage);
  EXPECT_EQ(endpoints_[1]->open_recv(make_key(7)).status().code(), Code::kInvalidUsage);
}

TEST_F(Inproc, ReopenedEndGoesOnWhereItStopped) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  std::vector<std::byte> base(600);
  for (uint64_t n = 0; n < 10; ++n) {
    // The receiver has gone away with an offer open; the offer must not be followed.
    pipe.recv->offer(pipe.recv->received() + 1, base.data(), 600, 1);
    std::vector<std::byte> out = pattern(n, 20);
    ASSERT_TRUE(send_bytes(*endpoints_[0], *pipe.send, out));
    EXPECT_EQ(pipe.send->posted(), n % 2 + 1) << "counters start where the channel was opened";
    EXPECT_EQ(take_message(*endpoints_[1], *pipe.recv, 20).data, out);
    EXPECT_EQ(pipe.recv->received(), 1u);
    EXPECT_NE(pipe.send->place(600, 1), nullptr);
    pipe.recv.reset();
    EXPECT_EQ(pipe.send->health().code(), Code::kRemoteError);
    EXPECT_EQ(pipe.send->place(600, 1), nullptr);
    pipe.recv = std::move(endpoints_[1]->open_recv(make_key(0)).value());
    EXPECT_TRUE(pipe.send->health().ok());
    EXPECT_EQ(pipe.send->place(600, 1), nullptr);
    if (n % 2 == 0) continue;
    pipe.send.reset();
    pipe.send = std::move(endpoints_[0]->open_send(make_key(1)).value());
  }
}

TEST_F(Inproc, ClosingWhileLendingCutsTheReaderOff) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  {
    std::vector<std::byte> out = pattern(1, 5000);
    ASSERT_TRUE(send_bytes(*endpoints_[0], *pipe.send, out));
    pipe.send.reset();
  }
  EXPECT_EQ(pipe.recv->view(), nullptr) << "its memory is not the channel's any more";
  EXPECT_EQ(pipe.recv->health().code(), Code::kRemoteError);
}

TEST_F(Inproc, SmallOffersAreNotWorthALine) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  std::vector<std::byte> base(64);
  pipe.recv->offer(0, base.data(), kLineBytes, 1);
  EXPECT_EQ(pipe.send->place(kLineBytes, 1), nullptr);
  pipe.recv->offer(0, base.data(), kLineBytes + 1, 1);
  EXPECT_EQ(pipe.send->place(kLineBytes + 1, 1), base.data());
}

TEST_F(Inproc, MessagesToOneself) {
  ASSERT_TRUE(endpoints_[0]->connect(0, endpoints_[0]->address()).ok());
  Pipe pipe = open_pipe(endpoints_, 0, 0);
  for (size_t bytes : {10, 5000}) {
    std::vector<std::byte> out = pattern(bytes, bytes);
    ASSERT_TRUE(send_bytes(*endpoints_[0], *pipe.send, out));
    EXPECT_EQ(take_message(*endpoints_[0], *pipe.recv, bytes).data, out);
  }
}

TEST_F(Inproc, AddressesAreChecked) {
  Transport& t = *endpoints_[0];
  for (const char* bad : {"", "inproc:", "inproc:x", "inproc:1x", "tcp:1", "inproc:-1"}) {
    EXPECT_EQ(t.connect(5, bad).code(), Code::kInvalidArgument) << bad;
  }
  EXPECT_EQ(t.connect(5, "inproc:999").code(), Code::kRemoteError);
  EXPECT_TRUE(t.connect(1, endpoints_[1]->address()).ok()) << "again is fine";
  EXPECT_EQ(t.connect(1, t.address()).code(), Code::kInvalidUsage);
}

TEST_F(Inproc, MemoryIsAlignedAndChecked) {
  Transport& t = *endpoints_[0];
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{100}, size_t{2} << 20, size_t{5} << 20}) {
    Result<void*> block = t.alloc(bytes);
    ASSERT_TRUE(block.ok());
    const size_t alignment = bytes >= size_t{2} << 20 ? size_t{2} << 20 : 64;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.value()) % alignment, 0u);
    std::memset(block.value(), 1, bytes);
    t.free(block.value());
  }
  t.free(nullptr);
  EXPECT_FALSE(t.alloc(std::numeric_limits<size_t>::max()).ok());
  EXPECT_TRUE(t.alloc(100).ok()) << "what is not freed goes with the domain";

  std::vector<std::byte> bytes(100);
  uint64_t first = 0;
  uint64_t second = 0;
  ASSERT_TRUE(t.register_memory(bytes.data(), 100, false, &first).ok());
  ASSERT_TRUE(t.register_memory(bytes.data(), 100, true, &second).ok());
  EXPECT_NE(first, second);
  EXPECT_TRUE(t.deregister_memory(first).ok());
  EXPECT_EQ(t.deregister_memory(first).code(), Code::kInvalidArgument);
  EXPECT_TRUE(t.deregister_memory(second).ok());
  EXPECT_EQ(t.register_memory(nullptr, 100, false, &first).code(), Code::kInvalidArgument);
  EXPECT_EQ(t.register_memory(bytes.data(), 0, false, &first).code(), Code::kInvalidArgument);
}

TEST_F(Inproc, ANewEpochIsNotTouchedByAnAbortOfAnOlderOne) {
  ChannelKey key = make_key(1);
  auto old_send = endpoints_[0]->open_send(key);
  endpoints_[0]->abort(key.comm);
  EXPECT_EQ(endpoints_[0]->open_send(key).status().code(), Code::kAborted);
  key.epoch = 1;
  auto send = endpoints_[0]->open_send(key);
  key.peer = 0;
  auto recv = endpoints_[1]->open_recv(key);
  ASSERT_TRUE(send.ok() && recv.ok());
  EXPECT_TRUE(send.value()->health().ok());
}

TEST_F(Inproc, ChannelsMayOutliveTheirEndpoint) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  endpoints_[0].reset();
  EXPECT_EQ(pipe.send->health().code(), Code::kAborted);
  EXPECT_EQ(pipe.recv->health().code(), Code::kRemoteError);
  endpoints_.clear();
  domain_.reset();
  pipe.send.reset();
  EXPECT_EQ(pipe.recv->view(), nullptr);
}

TEST(Builtin, MakesWhatItLists) {
  TransportContext context;
  context.domain = InprocDomain::create();
  const auto names = builtin_transport_names();
  ASSERT_EQ(names.size(), 4u);
  EXPECT_STREQ(names[0], "inproc");
  EXPECT_STREQ(names[1], "shm");
  EXPECT_STREQ(names[2], "gloo");  // modules: tests of their own
  EXPECT_STREQ(names[3], "mpi");
  auto transport = make_transport("inproc", context);
  ASSERT_TRUE(transport.ok()) << transport.status().text();
  EXPECT_STREQ(transport.value()->name(), "inproc");
  const Status unknown = make_transport("carrier-pigeon", context).status();
  EXPECT_EQ(unknown.code(), Code::kInvalidArgument);
  EXPECT_NE(unknown.text().find("carrier-pigeon"), std::string::npos);
  EXPECT_NE(unknown.text().find("inproc"), std::string::npos);
  EXPECT_EQ(make_transport("inproc", {}).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace tutti
