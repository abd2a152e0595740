// Communicators over a transport that lets one thread call it only, and that goes on touching
// memory after an abort: what users are told.
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>

#include "comm/device/host_device.h"
#include "comm/runtime/communicator.h"
#include "comm/runtime/inproc_control.h"
#include "transports/inproc/domain.h"
#include "transports/inproc/inproc.h"

namespace tutti {
namespace {

class PeculiarTransport final : public Transport {
 public:
  PeculiarTransport() : inner_(InprocDomain::create(), 0), capabilities_(inner_.capabilities()) {
    capabilities_.any_thread = false;
    capabilities_.thread_level = "ONE_THREAD";
  }
  const char* name() const override { return "peculiar"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  std::string address() const override { return inner_.address(); }
  Status connect(int peer, std::string_view to) override { return inner_.connect(peer, to); }
  Result<std::unique_ptr<SendChannel>> open_send(const ChannelKey& key) override {
    return inner_.open_send(key);
  }
  Result<std::unique_ptr<RecvChannel>> open_recv(const ChannelKey& key) override {
    return inner_.open_recv(key);
  }
  Result<void*> alloc(size_t bytes) override { return inner_.alloc(bytes); }
  void free(void* base) override { inner_.free(base); }
  Status register_memory(void* base, size_t bytes, bool remap, uint64_t* handle) override {
    return inner_.register_memory(base, bytes, remap, handle);
  }
  Status deregister_memory(uint64_t handle) override { return inner_.deregister_memory(handle); }
  void progress() override { inner_.progress(); }
  int wait_fd() const override { return inner_.wait_fd(); }
  void abort(uint64_t comm) override {
    inner_.abort(comm);
    aborted_ = comm;
  }
  std::string still_lent(uint64_t comm) const override { return comm == aborted_ ? lent : ""; }

  std::string lent = "it may still read 5 bytes at 0x10";

 private:
  InprocTransport inner_;
  Capabilities capabilities_;
  uint64_t aborted_ = 0;
};

class LentTest : public testing::Test {
 protected:
  LentTest() : device_(std::move(Device::open(host_device_api(), 0).value())) {}
  void SetUp() override {
    alarm(100);
    CommunicatorParts parts;
    parts.id = 77;
    parts.peers = {0};
    parts.transport = transport_;
    parts.control = std::make_unique<InprocControl>(board_, 0);
    parts.config = load_config({}).value();
    parts.config.timeout_ns = 10'000'000;
    parts.device = &device_;
    comm_ = std::move(Communicator::create(std::move(parts)).value());
  }
  void TearDown() override { alarm(0); }
  // A receive from itself that nobody ever sends for.
  std::unique_ptr<Operation> pending() {
    auto made = comm_->make_recv({&value_, 1, DataType::kInt32, 0, 3}, nullptr);
    EXPECT_TRUE(made.ok()) << made.status().text();
    comm_->enqueue({Order::Kind::kRecv, 0, 3}, made.value().get());
    return std::move(made.value());
  }

  Device device_;
  int32_t value_ = 0;
  const std::shared_ptr<Board> board_ = std::make_shared<Board>(1);
  const std::shared_ptr<PeculiarTransport> transport_ = std::make_shared<PeculiarTransport>();
  std::unique_ptr<Communicator> comm_;
};

TEST_F(LentTest, WhatNeedsOtherThreadsIsRefusedByTheNameOfTheLevel) {
  const Status refused = comm_->check_any_thread(kStreamOperations);
  EXPECT_EQ(refused.code(), Code::kInvalidUsage);
  EXPECT_EQ(refused.text(),
            "rank 0 of 1: operations on a stream need a transport that any thread may call, and "
            "peculiar runs at ONE_THREAD in this process");
  EXPECT_TRUE(check_any_thread(InprocTransport(InprocDomain::create(), 0), "me", "it").ok());
  EXPECT_TRUE(comm_->error().ok()) << "a refusal ends nothing";
}

TEST_F(LentTest, AnAbortNamesWhatIsStillLent) {
  const std::unique_ptr<Operation> operation = pending();
  comm_->abort();
  const std::string text =
      "rank 0 of 1: the communicator was aborted; it may still read 5 bytes at 0x10";
  EXPECT_EQ(comm_->wait(*operation).text(), text);
  EXPECT_EQ(comm_->error().code(), Code::kAborted);
  EXPECT_EQ(comm_->error().text(), text);
  transport_->lent = "";
  EXPECT_EQ(comm_->error().text(), "rank 0 of 1: the communicator was aborted")
      << "given back by now";
}

TEST_F(LentTest, SoDoesAnyOtherEnd) {
  const std::unique_ptr<Operation> operation = pending();
  const Status timeout = comm_->wait(*operation);
  EXPECT_EQ(timeout.code(), Code::kTimeout);
  EXPECT_NE(timeout.text().find("waited"), std::string::npos) << timeout.text();
  EXPECT_NE(timeout.text().find("; it may still read 5 bytes at 0x10"), std::string::npos);
  EXPECT_EQ(comm_->error().text(), timeout.text());
  ASSERT_TRUE(board_->failure().has_value());
  EXPECT_EQ(board_->failure()->text.find("0x10"), std::string::npos)
      << "addresses of this rank mean nothing to others";
}

}  // namespace
}  // namespace tutti
