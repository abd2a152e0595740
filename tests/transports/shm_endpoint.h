// Endpoints of shm, as the tests of shm open them.
#pragma once

#include <memory>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

#include "comm/base/unique_fd.h"
#include "tests/transports/conformance.h"
#include "transports/shm/shm.h"

namespace tutti {

inline std::unique_ptr<Transport> open_endpoint(int number, const Secret& secret = {},
                                                int64_t connect_ns = 200'000'000) {
  ShmOptions options;
  options.connect_ns = connect_ns;
  auto made = ShmTransport::open(number, secret, std::make_shared<OwnRegions>(), options);
  EXPECT_TRUE(made.ok()) << made.status().text();
  return std::move(made.value());
}

// Two of them, and a channel from the first to the second.
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

// What a sandbox may forbid, and shm does without.
inline bool kernel_reads_processes() {
  const char there = 1;
  char here = 0;
  const iovec from{const_cast<char*>(&there), 1};
  const iovec to{&here, 1};
  return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1;
}

inline bool kernel_watches_processes() {
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))).valid();
}

}  // namespace tutti
