// Conversions of the narrow floats: every bit pattern up, a dense set down, on every SIMD target.
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <vector>

#include "comm/device/kernels.h"
#include "tests/device/every_target.h"
#include "tests/support/scalar_reference.h"

namespace tutti {
namespace {

constexpr DataType kNarrowTypes[] = {DataType::kFloat16, DataType::kBfloat16, DataType::kFloat8e4m3,
                                     DataType::kFloat8e5m2};

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// All patterns of a type, as stored.
std::vector<uint8_t> all_patterns(DataType dtype) {
  const size_t bytes = size_of(dtype);
  const uint32_t patterns = 1u << (8 * bytes);
  std::vector<uint8_t> stored(patterns * bytes);
  for (uint32_t bits = 0; bits < patterns; ++bits) {
    std::memcpy(&stored[bits * bytes], &bits, bytes);
  }
  return stored;
}

// Every value of the type, every midpoint of neighbours, what lies just beside both, the edges of
// f32, NaNs of both signs and kinds, and random patterns.
std::vector<float> interesting_floats(DataType dtype) {
  std::vector<float> values;
  const uint32_t patterns = 1u << (8 * size_of(dtype));
  auto add_around = [&](float v) {
    for (int step = -1; step <= 1; ++step) values.push_back(float_of(bits_of(v) + step));
  };
  for (uint32_t bits = 0; bits + 1 < patterns; ++bits) {
    const float a = reference_to_float(dtype, bits);
    const float b = reference_to_float(dtype, bits + 1);
    add_around(a);
    if (std::isfinite(a) && std::isfinite(b)) {
      add_around(static_cast<float>((double{a} + double{b}) / 2));
    }
  }
  for (uint32_t bits : {0u, 1u, 0x007FFFFFu, 0x00800000u, 0x7F7FFFFFu, 0x7F800000u, 0x7F800001u,
                        0x7FBFFFFFu, 0x7FC00000u, 0x7FFFFFFFu}) {
    values.push_back(float_of(bits));
    values.push_back(float_of(bits | 0x80000000u));
  }
  // Overflow boundaries: the last finite values, their midpoint to the next step, and beyond.
  for (float edge : {448.0f, 464.0f, 480.0f, 57344.0f, 61440.0f, 65504.0f, 65520.0f, 65536.0f,
                     3.3895314e38f, 3.3961776e38f}) {
    add_around(edge);
    add_around(-edge);
  }
  std::mt19937 random(7);
  for (int i = 0; i < 200000; ++i) values.push_back(float_of(static_cast<uint32_t>(random())));
  return values;
}

TEST(Convert, EveryPatternWidensExactly) {
  for_every_target([] {
    for (DataType dtype : kNarrowTypes) {
      const std::vector<uint8_t> stored = all_patterns(dtype);
      const auto patterns = static_cast<uint32_t>(stored.size() / size_of(dtype));
      std::vector<float> got(patterns);
      widen(got.data(), stored.data(), patterns, dtype);
      for (uint32_t bits = 0; bits < patterns; ++bits) {
        ASSERT_EQ(bits_of(got[bits]), bits_of(reference_to_float(dtype, bits)))
            << name_of(dtype) << " pattern " << bits;
      }
    }
  });
}

TEST(Convert, NarrowingRoundsToNearestEven) {
  for (DataType dtype : kNarrowTypes) {
    const std::vector<float> values = interesting_floats(dtype);
    const size_t bytes = size_of(dtype);
    std::vector<uint32_t> expected;
    for (float v : values) expected.push_back(reference_from_float(dtype, v));
    for_every_target([&] {
      std::vector<uint8_t> got(values.size() * bytes);
      narrow(got.data(), values.data(), values.size(), dtype);
      for (size_t i = 0; i < values.size(); ++i) {
        uint32_t bits = 0;
        std::memcpy(&bits, &got[i * bytes], bytes);
        ASSERT_EQ(bits, expected[i])
            << name_of(dtype) << " of " << values[i] << " bits " << bits_of(values[i]);
      }
    });
  }
}

// The reference itself, against values known from the format definitions.
TEST(Convert, KnownValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(reference_from_float(DataType::kFloat16, 65519.0f), 0x7BFFu);
  EXPECT_EQ(reference_from_float(DataType::kFloat16, 65520.0f), 0x7C00u);
  EXPECT_EQ(reference_from_float(DataType::kFloat16, 5.9604645e-8f), 0x0001u);
  EXPECT_EQ(reference_from_float(DataType::kBfloat16, 1.00390625f), 0x3F80u);  // a tie, to even
  EXPECT_EQ(reference_from_float(DataType::kBfloat16, NAN), 0x7FC0u);
  EXPECT_EQ(reference_from_float(DataType::kFloat8e4m3, 1000.0f), 0x7Eu);
  EXPECT_EQ(reference_from_float(DataType::kFloat8e4m3, -1000.0f), 0xFEu);
  EXPECT_EQ(reference_from_float(DataType::kFloat8e4m3, infinity), 0x7Fu);
  EXPECT_EQ(reference_from_float(DataType::kFloat8e5m2, 61440.0f), 0x7Cu);
  EXPECT_EQ(reference_from_float(DataType::kFloat8e5m2, 61439.0f), 0x7Bu);
  EXPECT_EQ(reference_from_float(DataType::kFloat8e5m2, -NAN), 0x7Eu);
  EXPECT_EQ(reference_to_float(DataType::kFloat8e4m3, 0x7E), 448.0f);
  EXPECT_EQ(reference_to_float(DataType::kFloat8e4m3, 0x01), 0.001953125f);
}

TEST(Convert, TailsStayInside) {
  for_every_target([] {
    for (DataType dtype : kNarrowTypes) {
      for (size_t count = 0; count < 70; ++count) {
        const std::vector<float> ones(count, 1.0f);
        std::vector<uint8_t> stored(count * size_of(dtype) + 1, 0xAA);
        narrow(stored.data(), ones.data(), count, dtype);
        ASSERT_EQ(stored.back(), 0xAA);
        std::vector<float> back(count + 1, -7.0f);
        widen(back.data(), stored.data(), count, dtype);
        for (size_t i = 0; i < count; ++i) ASSERT_EQ(back[i], 1.0f);
        ASSERT_EQ(back[count], -7.0f);
      }
    }
  });
}

}  // namespace
}  // namespace tutti
