// Copies of rows by lists, and rows of zeros, with guards between and around them.
#include "comm/device/row_copy.h"

#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

#include "tests/device/every_target.h"
#include "tests/device/test_arrays.h"

namespace tutti {
namespace {

constexpr size_t kRows = 6;

template <typename Body>
void for_every_size(Body body) {
  for_every_target([&] {
    std::mt19937_64 random(47);
    for (const size_t bytes : {0, 1, 3, 63, 64, 65, 129, 1000, 4096, 14336, 14337}) {
      for (const size_t gap : {0, 1, 64}) {
        for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
          body(bytes, bytes + gap, stores, random);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  });
}

TEST(RowCopy, ListsOnBothSides) {
  for_every_size([](size_t bytes, size_t stride, Stores stores, std::mt19937_64& random) {
    Array src(kRows * stride, random() % 64);
    Array dst(kRows * stride, random() % 64);
    for (size_t i = 0; i < kRows * stride; ++i) src.data()[i] = static_cast<uint8_t>(random());
    std::memset(dst.data(), kGuard, kRows * stride);
    const int64_t to[] = {5, 2, 0, 3};
    const int32_t from[] = {1, 4, 4, 0};
    copy_rows({dst.data(), stride, nullptr, to}, {src.data(), stride, from}, 4, bytes, stores);
    std::vector<uint8_t> expected(kRows * stride + 1, kGuard);
    for (size_t i = 0; i < 4; ++i) {
      std::memcpy(expected.data() + static_cast<size_t>(to[i]) * stride,
                  src.data() + static_cast<size_t>(from[i]) * stride, bytes);
    }
    ASSERT_EQ(std::memcmp(dst.data(), expected.data(), kRows * stride), 0)
        << "bytes " << bytes << " stride " << stride;
    ASSERT_TRUE(dst.guards_intact());
  });
}

TEST(RowCopy, Zeros) {
  for_every_size([](size_t bytes, size_t stride, Stores /*stores*/, std::mt19937_64& random) {
    Array dst(kRows * stride, random() % 64);
    std::memset(dst.data(), kGuard, kRows * stride);
    const int32_t rows[] = {4, 1};
    zero_rows({dst.data(), stride, rows}, 2, bytes);
    std::vector<uint8_t> expected(kRows * stride + 1, kGuard);
    std::memset(expected.data() + 4 * stride, 0, bytes);
    std::memset(expected.data() + stride, 0, bytes);
    ASSERT_EQ(std::memcmp(dst.data(), expected.data(), kRows * stride), 0)
        << "bytes " << bytes << " stride " << stride;
    ASSERT_TRUE(dst.guards_intact());
  });
}

}  // namespace
}  // namespace tutti
