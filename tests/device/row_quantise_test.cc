// Quantisation of rows, bit by bit against a scalar reference, and within the bounds of its error.
#include "comm/device/row_quantise.h"

#include <array>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <numeric>
#include <random>
#include <vector>

#include "tests/device/every_target.h"
#include "tests/device/row_quantise_reference.h"
#include "tests/device/row_test_data.h"
#include "tests/device/test_arrays.h"
#include "tests/support/scalar_reference.h"

namespace tutti {
namespace {

constexpr RowQuant kKinds[] = {RowQuant::kFp8Block128, RowQuant::kFp8Block128Pow2,
                               RowQuant::kInt8Token};

// A table of rows, quantised to another one and back to a third, each with guards, at addresses of
// any alignment; rows that no list names must stay as they are.
class Tables {
 public:
  Tables(RowQuant quant, DataType dtype, size_t hidden, size_t rows, std::mt19937_64& random)
      : quant_(quant),
        dtype_(dtype),
        hidden_(hidden),
        rows_(rows),
        stride_(hidden * size_of(dtype) + random() % 3 * size_of(dtype)),
        value_stride_(hidden + random() % 2 * (64 - hidden % 64)),
        scale_bytes_(scales_per_row(quant, hidden) * sizeof(float)),
        src_(rows * stride_, random() % 3 == 0 ? random() % 64 : 0),
        back_(rows * stride_, random() % 2 == 0 ? random() % 64 : 0),
        values_(rows * value_stride_, random() % 2 == 0 ? random() % 64 : 0),
        scales_(rows * scale_bytes_, random() % 64) {
    std::memset(values_.data(), kGuard, rows * value_stride_);
    std::memset(back_.data(), kGuard, rows * stride_);
  }

  uint8_t* row(size_t i) { return src_.data() + i * stride_; }

  // Source rows by `list`, results consecutive; then all of them back in their order.
  void run(const std::vector<int32_t>& list, Stores stores) {
    list_ = list;
    quantise_rows({quant_,
                   dtype_,
                   hidden_,
                   list.size(),
                   {src_.data(), stride_, list.data()},
                   {values_.data(), value_stride_},
                   {scales_.data(), scale_bytes_},
                   stores});
    dequantise_rows({quant_,
                     dtype_,
                     hidden_,
                     list.size(),
                     {values_.data(), value_stride_},
                     {scales_.data(), scale_bytes_},
                     {back_.data(), stride_},
                     stores});
  }

  void check() {
    for (size_t i = 0; i < list_.size(); ++i) {
      check_row(i, reference_quantise(quant_, row(static_cast<size_t>(list_[i])), hidden_, dtype_));
      if (testing::Test::HasFatalFailure()) return;
    }
    for (size_t i = list_.size() * value_stride_; i < rows_ * value_stride_; ++i) {
      ASSERT_EQ(values_.data()[i], kGuard);
    }
    for (const Array* a : {&src_, &back_, &values_, &scales_}) ASSERT_TRUE(a->guards_intact());
  }

 private:
  void check_row(size_t i, const ReferenceRow& expected) {
    const uint8_t* values = values_.data() + i * value_stride_;
    const uint8_t* scales = scales_.data() + i * scale_bytes_;
    ASSERT_EQ(scale_bytes_, expected.scales.size() * sizeof(float));
    for (size_t b = 0; b < expected.scales.size(); ++b) {
      float scale;
      std::memcpy(&scale, scales + b * sizeof scale, sizeof scale);
      ASSERT_EQ(bits_of(scale), bits_of(expected.scales[b])) << "scale " << b << " row " << i;
    }
    for (size_t h = 0; h < hidden_; ++h) {
      ASSERT_EQ(values[h], expected.values[h])
          << "element " << h << " is " << load_float(row(static_cast<size_t>(list_[i])), h, dtype_);
    }
    for (size_t h = hidden_; h < value_stride_; ++h) ASSERT_EQ(values[h], kGuard);
    if (hidden_ == 0) return;
    const std::vector<uint8_t> back = reference_dequantise(quant_, expected, dtype_);
    ASSERT_EQ(std::memcmp(back_.data() + i * stride_, back.data(), back.size()), 0);
    for (size_t h = back.size(); h < stride_; ++h) {
      ASSERT_EQ(back_.data()[i * stride_ + h], kGuard);
    }
  }

  RowQuant quant_;
  DataType dtype_;
  size_t hidden_;
  size_t rows_;
  size_t stride_;
  size_t value_stride_;
  size_t scale_bytes_;
  Array src_;
  Array back_;
  Array values_;
  Array scales_;
  std::vector<int32_t> list_;
};

template <typename Body>
void for_every_kind(Body body) {
  for (const RowQuant quant : kKinds) {
    for (const DataType dtype : kRowTypes) {
      SCOPED_TRACE(std::string(name_of(dtype)) + " kind " +
                   std::to_string(static_cast<int>(quant)));
      body(quant, dtype);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(RowQuantise, EveryKindOnEveryTarget) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  for_every_target([&] {
    std::mt19937_64 random(seed);
    for_every_kind([&](RowQuant quant, DataType dtype) {
      for (const size_t hidden : {0, 1, 2, 63, 127, 128, 129, 300, 7168, 8321}) {
        for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
          Tables tables(quant, dtype, hidden, 8, random);
          for (size_t i = 0; i < 8; ++i) {
            fill_row(tables.row(i), hidden, dtype, kRowKinds[i % 6], random);
          }
          SCOPED_TRACE("hidden " + std::to_string(hidden));
          tables.run({5, 0, 4, 1, 2, 3, 3}, stores);
          tables.check();
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    });
  });
}

// Every value of the narrow types under many scales: no quotient near a tie is left to chance.
TEST(RowQuantise, EveryFiniteValueOfTheNarrowTypes) {
  for_every_target([] {
    std::mt19937_64 random(23);
    for (const DataType dtype : {DataType::kBfloat16, DataType::kFloat16}) {
      for (const RowQuant quant : kKinds) {
        constexpr size_t kHidden = 65536;
        Tables tables(quant, dtype, kHidden, 1, random);
        std::vector<uint32_t> order(kHidden);
        std::iota(order.begin(), order.end(), 0u);
        std::shuffle(order.begin(), order.end(), random);
        for (size_t i = 0; i < kHidden; ++i) {
          // Sorted by magnitude but for the low bits, so that neighbours are comparable.
          const uint32_t near = static_cast<uint32_t>(i) ^ (order[i] & 0x7F);
          const uint32_t bits = near >> 1 | (near & 1) << 15;
          std::memcpy(tables.row(0) + 2 * i, &bits, 2);
        }
        tables.run({0}, Stores::kCached);
        tables.check();
      }
    }
  });
}

TEST(RowQuantise, NothingOfTheCallersEnvironmentShows) {
  for_every_target([] {
    std::mt19937_64 random(29);
    for_every_kind([&](RowQuant quant, DataType dtype) {
      for (const RowKind kind : kRowKinds) {
        Tables tables(quant, dtype, 700, 2, random);
        fill_row(tables.row(0), 700, dtype, kind, random);
        fill_row(tables.row(1), 700, dtype, kind, random);
        bool intact;
        {
          HostileFpEnvironment hostile;
          tables.run({1, 0}, Stores::kCached);
          intact = HostileFpEnvironment::intact();
        }
        EXPECT_TRUE(intact);
        tables.check();
      }
    });
  });
}

// Lists of 64-bit indices on either side, scales beside the values as on a wire.
TEST(RowQuantise, ScatteredRows) {
  std::mt19937_64 random(31);
  constexpr size_t kHidden = 200;
  constexpr size_t kStride = kHidden + 2 * sizeof(float) + 3;
  std::vector<float> src(4 * kHidden);
  fill_row(reinterpret_cast<uint8_t*>(src.data()), src.size(), DataType::kFloat32, RowKind::kWide,
           random);
  std::vector<uint8_t> wire(4 * kStride, kGuard);
  const int64_t from[] = {3, 1};
  const int64_t to[] = {0, 2};
  const auto* base = reinterpret_cast<const uint8_t*>(src.data());
  quantise_rows({RowQuant::kFp8Block128,
                 DataType::kFloat32,
                 kHidden,
                 2,
                 {base, kHidden * 4, nullptr, from},
                 {wire.data(), kStride, nullptr, to},
                 {wire.data() + kHidden, kStride, nullptr, to},
                 Stores::kCached});
  for (size_t i = 0; i < 2; ++i) {
    const ReferenceRow row = reference_quantise(RowQuant::kFp8Block128,
                                                base + static_cast<size_t>(from[i]) * kHidden * 4,
                                                kHidden, DataType::kFloat32);
    const uint8_t* got = wire.data() + static_cast<size_t>(to[i]) * kStride;
    EXPECT_EQ(std::memcmp(got, row.values.data(), kHidden), 0);
    float scales[2];
    std::memcpy(scales, got + kHidden, sizeof scales);
    EXPECT_EQ(scales[0], row.scales[0]);
    EXPECT_EQ(scales[1], row.scales[1]);
    EXPECT_EQ(got[kStride - 1], kGuard);
    EXPECT_EQ(got[kStride], kGuard);
  }
}

TEST(RowQuantise, KnownValues) {
  const float row[] = {-448.0f, 1.0f, 0.0009765625f, -0.0f, 17.0f};
  uint8_t values[5];
  float scale = 0;
  auto run = [&](RowQuant quant, size_t hidden) {
    quantise_rows({quant,
                   DataType::kFloat32,
                   hidden,
                   1,
                   {reinterpret_cast<const uint8_t*>(row), sizeof row},
                   {values, sizeof values},
                   {reinterpret_cast<uint8_t*>(&scale), sizeof scale},
                   Stores::kCached});
  };
  run(RowQuant::kFp8Block128, 5);
  EXPECT_EQ(scale, 1.0f);
  EXPECT_EQ(values[0], 0xFE);
  EXPECT_EQ(values[1], 0x38);
  EXPECT_EQ(values[2], 0x00);  // half of the smallest: a tie, to even
  EXPECT_EQ(values[3], 0x80);
  EXPECT_EQ(values[4], 0x58);  // 17 is halfway from 16 to 18: to even
  run(RowQuant::kFp8Block128Pow2, 5);
  EXPECT_EQ(scale, 1.0f);  // a power of two stays
  EXPECT_EQ(values[0], 0xFE);
  run(RowQuant::kInt8Token, 5);
  EXPECT_EQ(scale, 448.0f / 127.0f);
  EXPECT_EQ(static_cast<int8_t>(values[0]), -127);
  EXPECT_EQ(values[1], 0);
  EXPECT_EQ(values[4], 5);
}

// Where the scale has few bits itself: 100 units of the smallest subnormal are 100 of a scale of 1,
// 190 would be 190 of a scale of 1 and are held at 127, 63 have no scale at all.
TEST(RowQuantise, SubnormalScalesOfInt8) {
  for_every_target([] {
    for (const auto& [bits, units, expected] :
         {std::array{100u, 1u, 100u}, std::array{190u, 1u, 127u}, std::array{63u, 0u, 0u}}) {
      uint8_t value = 0xFF;
      uint32_t scale = 0xFF;
      quantise_rows({RowQuant::kInt8Token,
                     DataType::kFloat32,
                     1,
                     1,
                     {reinterpret_cast<const uint8_t*>(&bits), 4},
                     {&value, 1},
                     {reinterpret_cast<uint8_t*>(&scale), 4},
                     Stores::kCached});
      EXPECT_EQ(scale, units);
      EXPECT_EQ(value, expected);
    }
  });
}

// Both infinities and NaNs of any kind leave a NaN and zeros, in their own block only.
TEST(RowQuantise, WhatIsNotFiniteIsNeverLaundered) {
  for_every_target([] {
    for (const uint32_t bits : {0x7F800000u, 0xFF800000u, 0x7FC00000u, 0xFF800001u}) {
      float bad;
      std::memcpy(&bad, &bits, sizeof bad);
      std::vector<float> row(300, 2.0f);
      row[130] = bad;
      std::vector<uint8_t> values(300);
      std::vector<float> scales(3);
      const SourceRows src{reinterpret_cast<const uint8_t*>(row.data()), 0};
      const TargetRows to{reinterpret_cast<uint8_t*>(scales.data()), 0};
      quantise_rows({RowQuant::kFp8Block128,
                     DataType::kFloat32,
                     300,
                     1,
                     src,
                     {values.data(), 0},
                     to,
                     Stores::kCached});
      EXPECT_EQ(bits_of(scales[1]), 0x7FC00000u);
      for (size_t i = 128; i < 256; ++i) ASSERT_EQ(values[i], 0);
      EXPECT_EQ(values[127], 0x7E);
      EXPECT_EQ(values[256], 0x7E);
      quantise_rows({RowQuant::kInt8Token,
                     DataType::kFloat32,
                     300,
                     1,
                     src,
                     {values.data(), 0},
                     to,
                     Stores::kCached});
      EXPECT_EQ(bits_of(scales[0]), 0x7FC00000u);
      for (const uint8_t value : values) ASSERT_EQ(value, 0);
    }
  });
}

// |q * scale - v| in exact arithmetic against the bound, which holds but for the rounding in f32.
void check_error(RowQuant quant, const float* row, const ReferenceRow& quantised, size_t i) {
  const double scale = quantised.scales[quant == RowQuant::kInt8Token ? 0 : i / 128];
  const double v = row[i];
  const double error = std::fabs(double{reference_widen(quant, quantised.values[i])} * scale - v);
  double bound = scale / 2;
  if (quant != RowQuant::kInt8Token) bound = std::max(std::fabs(v) / 16, scale / 1024);
  ASSERT_LE(error, bound * (1 + 0x1p-16)) << "of " << v << " scale " << scale;
}

TEST(RowQuantise, ErrorStaysWithinItsBound) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  constexpr size_t kHidden = 7168;
  for (const RowQuant quant : kKinds) {
    for (const float size : {1e-30f, 1e-6f, 1.0f, 1e30f}) {
      std::vector<float> row(kHidden);
      std::normal_distribution<float> normal(0, size);
      for (float& v : row) v = normal(random);
      const size_t count = scales_per_row(quant, kHidden);
      ReferenceRow got{std::vector<uint8_t>(kHidden), std::vector<float>(count)};
      quantise_rows({quant,
                     DataType::kFloat32,
                     kHidden,
                     1,
                     {reinterpret_cast<const uint8_t*>(row.data()), 0},
                     {got.values.data(), 0},
                     {reinterpret_cast<uint8_t*>(got.scales.data()), 0},
                     Stores::kStreaming});
      for (size_t i = 0; i < kHidden; ++i) check_error(quant, row.data(), got, i);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(RowQuantise, SizesOfRows) {
  EXPECT_EQ(scales_per_row(RowQuant::kFp8Block128, 7168), 56u);
  EXPECT_EQ(scales_per_row(RowQuant::kFp8Block128Pow2, 129), 2u);
  EXPECT_EQ(scales_per_row(RowQuant::kFp8Block128, 0), 0u);
  EXPECT_EQ(scales_per_row(RowQuant::kInt8Token, 7168), 1u);
  EXPECT_EQ(scales_per_row(RowQuant::kForward, 7168), 0u);
  EXPECT_EQ(bytes_per_element(RowQuant::kNone, DataType::kBfloat16), 2u);
  EXPECT_EQ(bytes_per_element(RowQuant::kForward, DataType::kUint8), 1u);
  EXPECT_EQ(bytes_per_element(RowQuant::kInt8Token, DataType::kFloat32), 1u);
}

}  // namespace
}  // namespace tutti
