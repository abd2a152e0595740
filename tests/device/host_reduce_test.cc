// Reductions through the table of the host device: bits, scalars, divisors, refusals.
#include <cstddef>
#include <cstdint>
#include <gtest/gtest.h>
#include <vector>

#include "tests/device/host_device_fixture.h"
#include "tests/support/scalar_reference.h"

namespace tutti {
namespace {

using HostReduceTest = HostDeviceTest;

TEST_F(HostReduceTest, ReduceEqualsTheReferenceForEveryClaimedPair) {
  constexpr size_t kCount = 1237;
  tutti_stream s = new_stream();
  for (uint32_t t = 0; t < kNumDataTypes + 1; ++t) {
    for (uint32_t o = 0; o < kNumReduceOps + 1; ++o) {
      if (api_->reduce_supported(dev_, t, o) != TUTTI_OK) continue;
      const auto dtype = static_cast<DataType>(t);
      const size_t bytes = kCount * size_of(dtype);
      std::vector<uint8_t> a(bytes);
      std::vector<uint8_t> b(bytes);
      for (size_t i = 0; i < bytes; ++i) {  // every byte value meets every other
        a[i] = static_cast<uint8_t>(i * 7 + i / 256);
        b[i] = static_cast<uint8_t>(i * 13 + i / 512);
      }
      std::vector<uint8_t> expected(bytes);
      std::vector<uint8_t> second(bytes);
      const void* src[] = {a.data(), b.data()};
      reference_reduce({expected.data(), src, 2, kCount, dtype, static_cast<ReduceOp>(o)});
      void* dst[] = {a.data(), second.data()};  // in place, and elsewhere
      tutti_reduce_args args = {};
      args.struct_size = sizeof args;
      args.dtype = t;
      args.op = o;
      args.nsrc = 2;
      args.ndst = 2;
      args.count = kCount;
      args.src = src;
      args.dst = dst;
      ASSERT_EQ(api_->reduce(dev_, &args, s), TUTTI_OK);
      ASSERT_EQ(api_->stream_sync(dev_, s), TUTTI_OK);
      EXPECT_EQ(a, expected) << name_of(dtype) << ' ' << o;
      EXPECT_EQ(second, expected) << name_of(dtype) << ' ' << o;
    }
  }
}

TEST_F(HostReduceTest, ReduceWithScalarsAndDivisor) {
  constexpr size_t kCount = 3001;  // more than a block
  tutti_stream s = new_stream();
  tutti_gate* gate = new_gate();
  std::vector<float> a(kCount);
  std::vector<float> b(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    a[i] = static_cast<float>(i) * 0.37f;
    b[i] = -static_cast<float>(i) * 1.9f;
  }
  const void* src[] = {a.data(), b.data()};
  std::vector<float> got(kCount);
  void* dst[] = {got.data()};
  float half = 0.5f;
  const void* scalar[] = {&half, nullptr};
  tutti_reduce_args args = {};
  args.struct_size = sizeof args;
  args.dtype = static_cast<uint32_t>(DataType::kFloat32);
  args.nsrc = 2;
  args.ndst = 1;
  args.divisor = 3;
  args.count = kCount;
  args.src = src;
  args.dst = dst;
  args.scalar = scalar;
  ASSERT_EQ(api_->stream_wait_gate(s, gate, 1), TUTTI_OK);
  ASSERT_EQ(api_->reduce(dev_, &args, s), TUTTI_OK);
  half = 99;  // everything but the arrays themselves was read during the call
  src[0] = nullptr;
  dst[0] = nullptr;
  scalar[1] = &half;
  ASSERT_EQ(api_->gate_set(gate, 1), TUTTI_OK);
  ASSERT_EQ(api_->stream_sync(dev_, s), TUTTI_OK);
  for (size_t i = 0; i < kCount; ++i) ASSERT_EQ(got[i], (a[i] * 0.5f + b[i]) / 3.0f) << i;
  EXPECT_EQ(api_->gate_destroy(gate), TUTTI_OK);
}

TEST_F(HostReduceTest, ReduceRefusesWhatIsUndefined) {
  int32_t word = 1;
  const void* src[] = {&word, &word};
  void* dst[] = {&word};
  const void* scalar[] = {&word, nullptr};
  tutti_reduce_args good = {};
  good.struct_size = sizeof good;
  good.dtype = static_cast<uint32_t>(DataType::kInt32);
  good.nsrc = 2;
  good.ndst = 1;
  good.count = 1;
  good.src = src;
  good.dst = dst;
  auto refused = [&](auto change) {
    tutti_reduce_args args = good;
    change(args);
    return api_->reduce(dev_, &args, nullptr);
  };
  EXPECT_EQ(refused([](auto& a) { a.struct_size = 8; }), TUTTI_E_ARG);
  EXPECT_EQ(refused([](auto& a) { a.nsrc = 0; }), TUTTI_E_ARG);
  EXPECT_EQ(refused([](auto& a) { a.dst = nullptr; }), TUTTI_E_ARG);
  EXPECT_EQ(refused([](auto& a) { a.stores = 9; }), TUTTI_E_ARG);
  EXPECT_EQ(refused([](auto& a) { a.dtype = 200; }), TUTTI_E_UNSUPPORTED);
  EXPECT_EQ(refused([&](auto& a) { a.scalar = scalar; }), TUTTI_E_UNSUPPORTED);
  EXPECT_EQ(refused([](auto& a) {
              a.op = static_cast<uint32_t>(ReduceOp::kBor);
              a.divisor = 2;
            }),
            TUTTI_E_UNSUPPORTED);
  EXPECT_EQ(refused([](auto& a) { a.op = static_cast<uint32_t>(ReduceOp::kAvg); }),
            TUTTI_E_UNSUPPORTED);
  EXPECT_EQ(word, 1);
  // An older caller, whose struct ends before the scalars.
  EXPECT_EQ(refused([&](auto& a) {
              a.struct_size = offsetof(tutti_reduce_args, scalar);
              a.scalar = scalar;
            }),
            TUTTI_OK);
  EXPECT_EQ(word, 2);
}

}  // namespace
}  // namespace tutti
