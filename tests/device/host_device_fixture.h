// HostDeviceTest: an opened host device, seen through its table, and the streams of a test, which
// it synchronises and destroys at the end.
#pragma once

#include <gtest/gtest.h>
#include <vector>

#include "comm/device/host_device.h"

namespace tutti {

class HostDeviceTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(api_->open(0, &dev_), TUTTI_OK); }
  void TearDown() override {
    for (tutti_stream s : streams_) {
      EXPECT_EQ(api_->stream_sync(dev_, s), TUTTI_OK);
      EXPECT_EQ(api_->stream_destroy(dev_, s), TUTTI_OK);
    }
    EXPECT_EQ(api_->close(dev_), TUTTI_OK);
  }
  tutti_stream new_stream(int32_t priority = 0) {
    tutti_stream s = nullptr;
    EXPECT_EQ(api_->stream_create(dev_, priority, &s), TUTTI_OK);
    streams_.push_back(s);
    return s;
  }
  tutti_gate* new_gate() {
    tutti_gate* gate = nullptr;
    EXPECT_EQ(api_->gate_create(dev_, &gate), TUTTI_OK);
    return gate;
  }
  tutti_event* new_event() {
    tutti_event* event = nullptr;
    EXPECT_EQ(api_->event_create(dev_, &event), TUTTI_OK);
    return event;
  }

  const tutti_device_api* api_ = host_device_api();
  tutti_dev* dev_ = nullptr;
  std::vector<tutti_stream> streams_;
};

}  // namespace tutti
