// The conformance suite over the mpi module, endpoints of one process started without mpirun, and
// what the module promises beyond the seam.
#include <algorithm>
#include <random>

#include "tests/transports/conformance.h"
#include "transports/builtin.h"
#include "transports/module.h"

namespace tutti {
namespace {

Endpoints make_mpi(int n) { return make_endpoints("mpi", n); }

// MPI must be finalised before the program ends, and only after all tests.
class FinalizeAtEnd : public testing::Environment {
 public:
  void TearDown() override {
    alarm(60);
    Endpoints last = make_mpi(1);
    ASSERT_EQ(last.size(), 1u);
    const Status ended = last[0]->finalize();
    EXPECT_TRUE(ended.ok()) << ended.text();
    EXPECT_TRUE(last[0]->finalize().ok());
    EXPECT_EQ(last[0]->open_send(make_key(0)).status().code(), Code::kInvalidUsage);
    last.clear();
    EXPECT_EQ(make_transport("mpi", {}).status().code(), Code::kInvalidUsage);
    alarm(0);
  }
};

testing::Environment* const kFinalizeAtEnd =
    testing::AddGlobalTestEnvironment(std::make_unique<FinalizeAtEnd>().release());

}  // namespace

std::vector<TransportCase> conformance_cases() {
  const TransportCase mpi = {"mpi", make_mpi};
  return {mpi, with_faults(mpi, "mpi_fault_1", shaky(1))};
}

namespace {

class Mpi : public testing::Test {
 protected:
  void SetUp() override {
    alarm(100);
    endpoints_ = make_mpi(2);
    connect_all(endpoints_);
  }
  void TearDown() override { alarm(0); }
  Transport& at(size_t rank) { return *endpoints_[rank]; }

  Endpoints endpoints_;
};

TEST_F(Mpi, ModuleIsOpenedOnceAndIsOfThisBuild) {
  auto first = open_module("mpi");
  auto again = open_module("mpi");
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_EQ(first.value(), again.value());
  EXPECT_EQ(first.value()->abi, kModuleAbi);
  EXPECT_STREQ(first.value()->name, "mpi");
  const Status missing = open_module("pigeon").status();
  EXPECT_EQ(missing.code(), Code::kUnsupported);
  EXPECT_NE(missing.text().find("libtutti_pigeon.so"), std::string::npos) << missing.text();
}

TEST_F(Mpi, JobOfOneProcess) {
  auto module = open_module("mpi");
  ASSERT_TRUE(module.ok());
  auto job = module.value()->job();
  ASSERT_TRUE(job.ok()) << job.status().text();
  EXPECT_EQ(job.value()->rank(), 0);
  EXPECT_EQ(job.value()->nranks(), 1);
  EXPECT_EQ(job.value()->local_rank(), 0);
  uint64_t all = 0;
  const uint64_t mine = 77;
  ASSERT_TRUE(job.value()->all_gather(&mine, &all, sizeof(mine)).ok());
  EXPECT_EQ(all, 77u);
}

TEST_F(Mpi, AnyThreadMayCall) {
  EXPECT_TRUE(at(0).capabilities().any_thread);
  EXPECT_STREQ(at(0).capabilities().thread_level, "MPI_THREAD_MULTIPLE");
}

TEST_F(Mpi, WrongAddressesAreRefused) {
  std::string address = at(1).address();
  EXPECT_EQ(at(0).connect(5, "mpi").code(), Code::kInvalidArgument);
  EXPECT_EQ(at(0).connect(5, "").code(), Code::kInvalidArgument);
  EXPECT_EQ(at(0).connect(1, at(0).address()).code(), Code::kInvalidUsage);
  EXPECT_TRUE(at(0).connect(1, address).ok()) << "the same again";
  address[10] = static_cast<char>(address[10] ^ 1);  // of the job's number
  const Status other = at(0).connect(5, address);
  EXPECT_EQ(other.code(), Code::kInvalidArgument);
  EXPECT_NE(other.text().find("another MPI job"), std::string::npos) << other.text();
  address = at(1).address();
  endpoints_.pop_back();
  EXPECT_EQ(at(0).connect(5, address).code(), Code::kRemoteError);
}

// Around every limit between packets and payloads, landed in one part and in several.
TEST_F(Mpi, EveryLengthArrives) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  std::vector<size_t> lengths = {0, 1, 100'000, 1'000'001, 40'000'000};
  for (size_t packets = 1; packets <= 9; ++packets) {
    for (size_t off : {0, 1, 2}) lengths.push_back(packets * 3920 - 1 + off);
  }
  for (size_t bytes : lengths) {
    std::vector<std::byte> out = pattern(bytes, bytes);
    ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
    EXPECT_EQ(land_message(at(1), *pipe.recv, bytes).data, out) << bytes;
    // The other way round: the receive is there first, and is in three parts.
    std::vector<std::byte> in(bytes);
    const size_t cut = bytes / 3;
    const iovec places[] = {{in.data(), cut}, {nullptr, 0}, {in.data() + cut, bytes - cut}};
    const uint64_t number = pipe.recv->received();
    pipe.recv->post_recv(places, 3);
    const iovec halves[] = {{out.data(), bytes / 2}, {out.data() + bytes / 2, bytes - bytes / 2}};
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->post_send(nullptr, halves, 2); }));
    ASSERT_TRUE(wait_for(at(1), [&] { return pipe.recv->received() > number; }));
    EXPECT_EQ(in, out) << bytes;
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == number + 1; }));
  }
}

TEST_F(Mpi, LongMessagesOfAnotherLengthAreNotWritten) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  for (size_t bytes : {40'000, 99'999, 100'001, 1'000'000}) {
    std::vector<std::byte> out = pattern(bytes, bytes);
    std::vector<std::byte> in(100'000);
    const iovec part = part_of(in);
    const uint64_t number = pipe.recv->received();
    pipe.recv->post_recv(&part, 1);
    ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
    ASSERT_TRUE(wait_for(at(1), [&] { return pipe.recv->received() > number; }));
    EXPECT_EQ(pipe.recv->last().bytes, bytes);
    EXPECT_EQ(in, std::vector<std::byte>(100'000)) << bytes;
    ASSERT_TRUE(wait_for(at(0), [&] { return pipe.send->sent() == number + 1; }));
  }
}

TEST_F(Mpi, LongMessagesNobodyReadsBlockNoOther) {
  Pipe stuck = open_pipe(endpoints_, 0, 1, 7);
  Pipe free = open_pipe(endpoints_, 0, 1, 8);
  std::vector<std::byte> out = pattern(1, 300'000);
  const iovec part = part_of(out);
  const uint32_t slots = at(0).capabilities().slots;
  for (uint32_t i = 0; i < slots; ++i) ASSERT_TRUE(stuck.send->post_send(nullptr, &part, 1));
  EXPECT_FALSE(stuck.send->post_send(nullptr, &part, 1));
  for (uint64_t n = 0; n < 50; ++n) {
    std::vector<std::byte> other = pattern(n, n % 2 == 0 ? 300'000 : 100);
    ASSERT_TRUE(send_bytes(at(0), *free.send, other));
    ASSERT_EQ(land_message(at(1), *free.recv, other.size()).data, other);
    ASSERT_TRUE(wait_for(at(0), [&] { return free.send->sent() == n + 1; }));
  }
  EXPECT_EQ(stuck.send->sent(), 0u) << "long messages stay borrowed";
  for (uint32_t i = 0; i < slots; ++i) {
    EXPECT_EQ(land_message(at(1), *stuck.recv, out.size()).data, out);
  }
  EXPECT_TRUE(wait_for(at(0), [&] { return stuck.send->sent() == slots; }));
}

TEST_F(Mpi, AbortNamesTheBuffersMpiMayStillTouch) {
  Pipe pipe = open_pipe(endpoints_, 0, 1, 0, 5);
  std::vector<std::byte> out = pattern(1, 500'000);
  const iovec part = part_of(out);
  ASSERT_TRUE(pipe.send->post_send(nullptr, &part, 1));
  EXPECT_EQ(at(0).still_lent(6), "");
  at(0).abort(5);
  char address[32];
  std::snprintf(address, sizeof(address), "%p", static_cast<void*>(out.data()));
  for (const std::string& text : {pipe.send->health().text(), at(0).still_lent(5)}) {
    EXPECT_NE(text.find("MPI may still read 500000 bytes"), std::string::npos) << text;
    EXPECT_NE(text.find(address), std::string::npos) << text;
  }
  pipe.send.reset();
  EXPECT_NE(at(0).still_lent(5), "") << "closing the channel gives nothing back";
  // Nobody reads it any more.
  std::vector<std::byte> in(500'000);
  const iovec place = part_of(in);
  pipe.recv->post_recv(&place, 1);
  for (int poll = 0; poll < 1000; ++poll) {
    for (auto& endpoint : endpoints_) endpoint->progress();
    ASSERT_EQ(pipe.recv->received(), 0u);
  }
  EXPECT_EQ(in, std::vector<std::byte>(500'000));
}

TEST_F(Mpi, SenderThatTakesItsMessageBackIsNamed) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  std::vector<std::byte> few = pattern(1, 100);
  std::vector<std::byte> many = pattern(2, 500'000);
  ASSERT_TRUE(send_bytes(at(0), *pipe.send, few));
  const iovec part = part_of(many);
  ASSERT_TRUE(pipe.send->post_send(nullptr, &part, 1));
  pipe.send.reset();
  std::vector<std::byte> in(500'000);
  ASSERT_TRUE(wait_for(at(1), [&] { return pipe.recv->health().ok(); }));
  EXPECT_EQ(land_message(at(1), *pipe.recv, 100).data, few);
  const iovec place = part_of(in);
  for (int poll = 0; poll < 1000; ++poll) at(1).progress();
  pipe.recv->post_recv(&place, 1);
  for (int poll = 0; poll < 1000; ++poll) {
    at(1).progress();
    ASSERT_EQ(pipe.recv->received(), 1u);
  }
  EXPECT_EQ(in, std::vector<std::byte>(500'000));
  EXPECT_EQ(pipe.recv->health().code(), Code::kRemoteError);
}

TEST_F(Mpi, ChannelsMayOutliveTheirEndpoint) {
  Pipe pipe = open_pipe(endpoints_, 0, 1);
  std::vector<std::byte> out = pattern(1, 100'000);
  ASSERT_TRUE(send_bytes(at(0), *pipe.send, out));
  endpoints_.clear();
  EXPECT_EQ(pipe.recv->received(), 0u);
  pipe.send.reset();
  pipe.recv.reset();
}

}  // namespace
}  // namespace tutti
