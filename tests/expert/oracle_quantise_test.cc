// Conversions against another reference, quantisation by hand and within its bounds.
#include <bit>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "tests/expert/oracle_cases.h"
#include "tests/support/scalar_reference.h"

namespace tutti::oracle {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }

float widen(DataType dtype, uint32_t code) {
  if (dtype == DataType::kBfloat16) return from_bf16(static_cast<uint16_t>(code));
  if (dtype == DataType::kFloat16) return from_f16(static_cast<uint16_t>(code));
  return from_e4m3(static_cast<uint8_t>(code));
}

uint32_t narrow(DataType dtype, float value) {
  if (dtype == DataType::kBfloat16) return to_bf16(value);
  return dtype == DataType::kFloat16 ? to_f16(value) : to_e4m3(value);
}

constexpr DataType kNarrowTypes[] = {DataType::kBfloat16, DataType::kFloat16,
                                     DataType::kFloat8e4m3};

TEST(OracleNumbers, EveryPatternWidensAsElsewhere) {
  for (DataType dtype : kNarrowTypes) {
    for (uint32_t code = 0; code < 1u << (8 * size_of(dtype)); ++code) {
      ASSERT_EQ(bits_of(widen(dtype, code)), bits_of(reference_to_float(dtype, code))) << code;
    }
  }
}

TEST(OracleNumbers, NeighboursMidpointsAndRandomBitsNarrowAsElsewhere) {
  auto check = [](DataType dtype, float value) {
    for (int step = -1; step <= 1; ++step) {
      const auto v = std::bit_cast<float>(bits_of(value) + static_cast<uint32_t>(step));
      ASSERT_EQ(narrow(dtype, v), reference_from_float(dtype, v)) << std::hex << bits_of(v);
    }
  };
  Random random{3};
  for (DataType dtype : kNarrowTypes) {
    for (uint32_t code = 0; code + 1 < 1u << (8 * size_of(dtype)); ++code) {
      const float a = widen(dtype, code);
      const float b = widen(dtype, code + 1);
      check(dtype, a);
      if (std::isfinite(a) && std::isfinite(b)) {
        check(dtype, static_cast<float>((double{a} + double{b}) / 2));
      }
    }
    for (int i = 0; i < 300000; ++i) {
      check(dtype, std::bit_cast<float>(static_cast<uint32_t>(random.next())));
    }
    for (float edge : {464.0f, 480.0f, 65504.0f, 65520.0f, 65536.0f, 3.3961776e38f, kInf}) {
      check(dtype, edge);
      check(dtype, -edge);
    }
  }
}

TEST(OracleNumbers, E4m3IsByHand) {
  EXPECT_EQ(to_e4m3(448), 0x7E);
  EXPECT_EQ(to_e4m3(1e9f), 0x7E);
  EXPECT_EQ(to_e4m3(-464), 0xFE);
  EXPECT_EQ(to_e4m3(17), 0x58);  // halfway between 16 and 18: the even one
  EXPECT_EQ(to_e4m3(19), 0x5A);
  EXPECT_EQ(to_e4m3(0x1p-9f), 0x01);
  EXPECT_EQ(to_e4m3(0x1p-10f), 0x00);
  EXPECT_EQ(to_e4m3(0x3p-10f), 0x02);
  EXPECT_EQ(to_e4m3(-0.0f), 0x80);
}

Quantised of(Quant quant, const std::vector<float>& row) {
  return quantise(quant, tuttiFloat32, pack(tuttiFloat32, row), static_cast<int64_t>(row.size()));
}

TEST(OracleQuantise, Fp8IsByHand) {
  const Quantised unit = of(Quant::kFp8Block128, {448, 1, -2, 0, 17});
  EXPECT_EQ(unit.scale, std::vector<float>{1});
  EXPECT_EQ(unit.q, (std::vector<uint8_t>{0x7E, 0x38, 0xC0, 0x00, 0x58}));
  EXPECT_EQ(of(Quant::kFp8Block128, {-3, 1}).scale[0], 3.0f / 448.0f);
  const Quantised zero = of(Quant::kFp8Block128, {0, -0.0f});
  EXPECT_EQ(zero.scale[0], 1e-4f / 448.0f);
  EXPECT_EQ(zero.q, (std::vector<uint8_t>{0x00, 0x80}));
  // Below 1e-4 the scale stands still.
  EXPECT_EQ(of(Quant::kFp8Block128, {1e-30f}).scale[0], 1e-4f / 448.0f);
}

TEST(OracleQuantise, Pow2RoundsTheScaleUp) {
  EXPECT_EQ(of(Quant::kFp8Block128Pow2, {448}).scale[0], 1);
  EXPECT_EQ(of(Quant::kFp8Block128Pow2, {448.5f}).scale[0], 2);
  EXPECT_EQ(of(Quant::kFp8Block128Pow2, {-224}).scale[0], 0.5f);
  EXPECT_EQ(of(Quant::kFp8Block128Pow2, {0}).scale[0], 0x1p-22f);
  EXPECT_EQ(of(Quant::kFp8Block128Pow2, {3e38f}).scale[0], 0x1p120f);
  EXPECT_EQ(of(Quant::kFp8Block128Pow2, {896, 17}).q, (std::vector<uint8_t>{0x7E, 0x50}));
}

TEST(OracleQuantise, BlocksAreApartAndTheLastMayBeShort) {
  std::vector<float> row(130, 1.0f);
  row[5] = kNan;
  row[128] = 448;
  const Quantised out = of(Quant::kFp8Block128, row);
  EXPECT_EQ(out.scales, 2);
  EXPECT_EQ(bits_of(out.scale[0]), 0x7FC00000u);
  EXPECT_EQ(out.scale[1], 1);
  for (int i = 0; i < 128; ++i) EXPECT_EQ(out.q[i], 0);
  EXPECT_EQ(out.q[128], 0x7E);
  EXPECT_EQ(out.q[129], 0x38);
  EXPECT_TRUE(std::isnan(dequantised(Quant::kFp8Block128, out.q[5], out.scale[0])));
  // One row after the other.
  row.insert(row.end(), 130, 896.0f);
  const Quantised two = quantise(Quant::kFp8Block128, tuttiFloat32, pack(tuttiFloat32, row), 130);
  EXPECT_EQ(two.scale.size(), 4u);
  EXPECT_EQ(two.scale[3], 2);
}

TEST(OracleQuantise, Int8IsByHand) {
  const Quantised out = of(Quant::kInt8Token, {-127, 64, 0.5f, 1.5f, 2.5f, -0.5f});
  EXPECT_EQ(out.scale, std::vector<float>{1});
  EXPECT_EQ(out.q, (std::vector<uint8_t>{0x81, 64, 0, 2, 2, 0}));
  const Quantised zero = of(Quant::kInt8Token, {0, 0});
  EXPECT_EQ(zero.scale[0], 0);
  EXPECT_EQ(zero.q, (std::vector<uint8_t>{0, 0}));
  const Quantised lost = of(Quant::kInt8Token, {1, -kInf});
  EXPECT_EQ(bits_of(lost.scale[0]), 0x7FC00000u);
  EXPECT_EQ(lost.q, (std::vector<uint8_t>{0, 0}));
  const Quantised tiny = of(Quant::kInt8Token, {1e-45f});
  EXPECT_EQ(tiny.scale[0], 0);
  EXPECT_EQ(tiny.q[0], 0);
}

// v / scale lies exactly between two codes: the product with 1 / scale often does not.
TEST(OracleQuantise, DividesTruly) {
  for (int s = 3; s < 256; s += 2) {
    const auto scale = static_cast<float>(s);
    std::vector<float> row = {127 * scale};
    for (int j = 0; j < 127; ++j) row.push_back((static_cast<float>(j) + 0.5f) * scale);
    const Quantised whole = of(Quant::kInt8Token, row);
    for (int j = 0; j < 127; ++j) ASSERT_EQ(whole.q[1 + j], (j + 1) / 2 * 2) << j << " of " << s;

    row = {448 * scale};
    for (uint8_t code = 0; code < 0x7E; ++code) {
      row.push_back((from_e4m3(code) + from_e4m3(code + 1)) / 2 * scale);
    }
    const Quantised narrow = of(Quant::kFp8Block128, row);
    for (int code = 0; code < 0x7E; ++code) {
      ASSERT_EQ(narrow.q[1 + code], (code + 1) / 2 * 2) << code << " of " << s;
    }
  }
}

TEST(OracleQuantise, NarrowInputsAreWidenedFirst) {
  Random random{9};
  std::vector<float> row(200);
  for (float& v : row) v = random.normal();
  for (tuttiDataType_t dtype : {tuttiBfloat16, tuttiFloat16}) {
    const std::vector<uint8_t> stored = pack(dtype, row);
    const Quantised a = quantise(Quant::kFp8Block128, dtype, stored, 200);
    const Quantised b = of(Quant::kFp8Block128, unpack(dtype, stored));
    EXPECT_EQ(a.q, b.q);
    EXPECT_EQ(a.scale, b.scale);
  }
}

// Ordinary, huge, tiny and subnormal rows.
std::vector<float> row_of_size(Random& random, int64_t hidden, float size) {
  std::vector<float> row;
  for (int64_t i = 0; i < hidden; ++i) row.push_back(random.normal() * size);
  return row;
}

TEST(OracleQuantise, StaysWithinItsBounds) {
  Random random{11};
  for (float size : {1.0f, 5e37f, 1e-4f, 1e-20f, 1e-40f, 1e-44f}) {
    for (Quant quant : {Quant::kFp8Block128, Quant::kFp8Block128Pow2, Quant::kInt8Token}) {
      for (int64_t hidden : {1, 127, 128, 129, 1000}) {
        const std::vector<float> row = row_of_size(random, hidden, size);
        const Quantised out = of(quant, row);
        for (int64_t i = 0; i < hidden; ++i) {
          const float scale = out.scale[out.scales == 1 ? 0 : i / 128];
          const double got = dequantised(quant, out.q[i], scale);
          ASSERT_LE(std::fabs(got - row[i]), quantisation_bound(quant, row[i], scale))
              << "value " << row[i] << " scale " << scale;
        }
      }
    }
  }
}

// The contract's measured figures for normal rows: 2.6 % and 0.9 %.
TEST(OracleQuantise, ErrorsAreAsLargeAsMeasured) {
  Random random{13};
  const std::vector<float> row = row_of_size(random, 128 * 400, 1.0f);
  auto rms = [&](Quant quant, int64_t hidden) {
    const Quantised out = quantise(quant, tuttiFloat32, pack(tuttiFloat32, row), hidden);
    double error = 0;
    double power = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      const int64_t block = quant == Quant::kInt8Token ? hidden : 128;
      const double d = dequantised(quant, out.q[i], out.scale[i / block]) - double{row[i]};
      error += d * d;
      power += double{row[i]} * double{row[i]};
    }
    return std::sqrt(error / power);
  };
  EXPECT_NEAR(rms(Quant::kFp8Block128, 128), 0.026, 0.002);
  EXPECT_NEAR(rms(Quant::kInt8Token, 5120), 0.009, 0.001);
}

}  // namespace
}  // namespace tutti::oracle
