// The trace decorator notes what happened, in order, and keeps the newest records.
#include "transports/decorators/trace.h"

#include <atomic>
#include <gtest/gtest.h>

#include "tests/transports/conformance.h"
#include "transports/inproc/inproc.h"

namespace tutti {
namespace {

class Trace : public testing::Test {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override { alarm(0); }
  void make(size_t capacity) {
    auto domain = InprocDomain::create();
    for (int i = 0; i < 2; ++i) {
      traced_[i] = new TraceTransport(std::make_unique<InprocTransport>(domain, i), capacity);
      endpoints_.emplace_back(traced_[i]);
    }
    connect_all(endpoints_);
  }
  std::string calls(int rank) const {
    std::string text;
    for (const TraceRecord& r : traced_[rank]->records()) {
      text += std::string(text.empty() ? "" : " ") + name_of(r.call);
    }
    return text;
  }
  Endpoints endpoints_;
  TraceTransport* traced_[2] = {};
};

TEST_F(Trace, NotesWhatHadAnEffect) {
  make(100);
  std::vector<std::byte> out = pattern(1, 500);
  std::vector<std::byte> in(500);
  const iovec part = part_of(in);
  {
    Pipe pipe = open_pipe(endpoints_, 0, 1, 9);
    EXPECT_EQ(pipe.recv->view(), nullptr);
    ASSERT_TRUE(send_bytes(*endpoints_[0], *pipe.send, out));
    EXPECT_EQ(pipe.send->sent(), 0u);
    ASSERT_NE(pipe.recv->view(), nullptr);
    ASSERT_NE(pipe.recv->view(), nullptr);
    pipe.recv->release();
    EXPECT_EQ(pipe.send->sent(), 1u);
    pipe.recv->offer(1, in.data(), 500, 5);
    pipe.recv->post_recv(&part, 1);
    ASSERT_NE(pipe.send->place(500, 5), nullptr);
    ASSERT_TRUE(pipe.send->post_placed(nullptr, 500));
    EXPECT_EQ(pipe.recv->received(), 2u);
    EXPECT_TRUE(pipe.recv->last().placed);
  }
  endpoints_[0]->abort(1);
  EXPECT_EQ(calls(0), "open_send post_send sent place post_placed abort");
  EXPECT_EQ(calls(1), "open_recv view release offer post_recv received");
  const std::vector<TraceRecord> records = traced_[1]->records();
  EXPECT_EQ(records[1].key.order, 9u);
  EXPECT_EQ(records[1].key.peer, 0);
  EXPECT_EQ(records[1].bytes, 500u);
  EXPECT_EQ(records[5].ordinal, 1u);
  for (size_t i = 1; i < records.size(); ++i) {
    EXPECT_GE(records[i].time_ns, records[i - 1].time_ns);
  }
  const std::string text = traced_[1]->text();
  EXPECT_NE(text.find("comm 1.0 collective peer 0 order 9  view        #0  500 B"),
            std::string::npos)
      << text;
}

TEST_F(Trace, KeepsTheNewest) {
  make(8);
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  std::vector<std::byte> out = pattern(1, 8);
  for (uint64_t n = 0; n < 50; ++n) ASSERT_TRUE(send_bytes(*endpoints_[0], *pipe.send, out));
  const std::vector<TraceRecord> records = traced_[0]->records();
  ASSERT_EQ(records.size(), 8u);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(records[i].ordinal, 42 + i);
}

TEST_F(Trace, ManyThreadsAndAReader) {
  make(64);
  std::atomic<int> running{2};
  run_ranks(3, [&](int rank) {
    if (rank == 2) {
      while (running.load() > 0) {
        for (const TraceRecord& r : traced_[0]->records()) {
          ASSERT_TRUE(r.call == TraceCall::kOpenSend || r.ordinal == r.bytes);
        }
      }
      return;
    }
    // Both on endpoint 0: message n has n bytes, so a torn record would show.
    auto send = endpoints_[0]->open_send(make_key(1, static_cast<uint64_t>(rank)));
    auto recv = endpoints_[1]->open_recv(make_key(0, static_cast<uint64_t>(rank)));
    std::vector<std::byte> bytes(3000);
    for (uint64_t n = 0; n < 3000; ++n) {
      const iovec part{bytes.data(), n};
      EXPECT_TRUE(send.value()->post_send(nullptr, &part, 1));
      EXPECT_NE(recv.value()->view(), nullptr);
      recv.value()->release();
    }
    running.fetch_sub(1);
  });
  EXPECT_LE(traced_[0]->records().size(), 64u);
  EXPECT_GE(traced_[0]->records().size(), 60u);
}

}  // namespace
}  // namespace tutti
