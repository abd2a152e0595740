// The holder over a table: versions, missing functions, errors as Status.
#include "comm/device/device.h"

#include <cstddef>
#include <cstring>
#include <gtest/gtest.h>
#include <utility>

#include "comm/device/host_device.h"

namespace tutti {
namespace {

TEST(Device, OldPluginHasNoOptionalFunctions) {
  tutti_device_api old = *host_device_api();
  old.struct_size = offsetof(tutti_device_api, reduce);
  Result<Device> device = Device::open(&old, 0);
  ASSERT_TRUE(device.ok());
  EXPECT_FALSE(device.value().can_reduce(DataType::kFloat32, ReduceOp::kSum));
  const void* src[] = {nullptr};
  void* dst[] = {nullptr};
  EXPECT_EQ(
      device.value()
          .reduce({src, 1, dst, 1, 0, DataType::kInt8, ReduceOp::kSum, 0, Stores::kCached}, nullptr)
          .code(),
      Code::kUnsupported);
  EXPECT_EQ(device.value().notify(nullptr, nullptr, nullptr).code(), Code::kUnsupported);
}

TEST(Device, NewerPluginIsRead) {
  struct {
    tutti_device_api api;
    void* more[8];
  } newer = {*host_device_api(), {}};
  newer.api.struct_size = sizeof newer;
  newer.api.abi_minor = 7;
  EXPECT_TRUE(Device::open(&newer.api, 0).ok());
}

TEST(Device, UnusableTablesAreRefused) {
  EXPECT_EQ(Device::open(nullptr, 0).status().code(), Code::kVersionMismatch);
  tutti_device_api api = *host_device_api();
  api.abi_major = 2;
  EXPECT_EQ(Device::open(&api, 0).status().code(), Code::kVersionMismatch);
  api = *host_device_api();
  api.gate_set = nullptr;
  const Status missing = Device::open(&api, 0).status();
  EXPECT_EQ(missing.code(), Code::kVersionMismatch);
  EXPECT_NE(missing.text().find("gate_set"), std::string::npos);
  api = *host_device_api();
  api.struct_size = offsetof(tutti_device_api, gate_set);
  EXPECT_EQ(Device::open(&api, 0).status().code(), Code::kVersionMismatch);
  EXPECT_EQ(Device::open(host_device_api(), 3).status().code(), Code::kSystemError);
}

TEST(Device, WorksThroughTheTable) {
  Result<Device> opened = Device::open(host_device_api(), 0);
  ASSERT_TRUE(opened.ok());
  Device device = std::move(opened.value());
  EXPECT_STREQ(device.name(), "host");
  EXPECT_TRUE(device.attach_thread().ok());
  EXPECT_TRUE(device.can_reduce(DataType::kBfloat16, ReduceOp::kMax));
  EXPECT_FALSE(device.can_reduce(DataType::kBfloat16, ReduceOp::kBxor));
  const Result<tutti_dev_props> props = device.props();
  ASSERT_TRUE(props.ok());
  EXPECT_NE(props.value().caps & TUTTI_CAP_REDUCE, 0u);

  const Result<void*> memory = device.allocate(1 << 16);
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(device.query(memory.value()).value().size, uint64_t{1} << 16);
  const Result<tutti_stream> stream = device.create_stream();
  const Result<tutti_event*> event = device.create_event();
  const Result<tutti_gate*> gate = device.create_gate();
  ASSERT_TRUE(stream.ok() && event.ok() && gate.ok());
  int64_t input[] = {5, -7};
  void* dst[] = {memory.value()};
  const void* src[] = {input, input};
  EXPECT_TRUE(device.wait_gate(stream.value(), gate.value(), 1).ok());
  EXPECT_TRUE(
      device
          .reduce({src, 2, dst, 1, 2, DataType::kInt64, ReduceOp::kSum, 0, Stores::kStreaming},
                  stream.value())
          .ok());
  EXPECT_TRUE(device.record(event.value(), stream.value()).ok());
  EXPECT_FALSE(device.is_done(event.value()).value());
  const Status busy = device.destroy_stream(stream.value());
  EXPECT_EQ(busy.code(), Code::kInvalidArgument);
  EXPECT_NE(busy.text().find("pending"), std::string::npos);
  EXPECT_TRUE(device.set_gate(gate.value(), 1).ok());
  EXPECT_TRUE(device.sync(stream.value()).ok());
  EXPECT_TRUE(device.is_done(event.value()).value());
  EXPECT_TRUE(device.wait_event(stream.value(), event.value()).ok());
  EXPECT_TRUE(device.copy(input, memory.value(), sizeof input, stream.value()).ok());
  EXPECT_EQ(input[0], 10);
  EXPECT_EQ(input[1], -14);
  EXPECT_TRUE(device.destroy_gate(gate.value()).ok());
  EXPECT_TRUE(device.destroy_event(event.value()).ok());
  EXPECT_TRUE(device.destroy_stream(stream.value()).ok());
  EXPECT_TRUE(device.free(memory.value()).ok());
}

}  // namespace
}  // namespace tutti
