// Weighted sums of rows, bit by bit against a scalar reference.
#include "comm/device/row_sum.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

#include "tests/device/every_target.h"
#include "tests/device/row_test_data.h"
#include "tests/device/test_arrays.h"
#include "tests/support/scalar_reference.h"

namespace tutti {
namespace {

// The documented order, an element at a time.
float reference_sum(const RowSum& sum, size_t h, DataType src_type, DataType dst_type) {
  float acc = 0;
  const auto bias = [&](int b) {
    return load_float(static_cast<const uint8_t*>(sum.bias[b]), h, dst_type);
  };
  if (sum.bias[0] != nullptr && sum.bias[1] != nullptr) {
    acc = bias(0) + bias(1);
  } else if (sum.bias[0] != nullptr) {
    acc = bias(0);
  } else if (sum.bias[1] != nullptr) {
    acc = bias(1);
  }
  for (uint32_t i = 0; i < sum.n; ++i) {
    const float x = load_float(static_cast<const uint8_t*>(sum.src[i]), h, src_type);
    const float term = sum.weights == nullptr ? x : sum.weights[i] * x;
    acc = acc + term;
  }
  return acc;
}

struct SumShape {
  DataType src_type;
  DataType dst_type;
  size_t hidden;
  Stores stores;
  uint32_t n;
  bool weighted;
  int biases;  // bit b: bias b is given
};

// One sum with everything it needs.
class SumCase {
 public:
  SumCase(const SumShape& shape, RowKind kind, std::mt19937_64& random)
      : shape_(shape), dst_(shape.hidden * size_of(shape.dst_type), misalignment(random)) {
    const uint32_t distinct = shape.n - (shape.n > 2 ? 1 : 0);
    rows_.reserve(distinct);
    for (uint32_t i = 0; i < distinct; ++i) rows_.push_back(array(shape.src_type, kind, random));
    for (uint32_t i = 0; i < shape.n; ++i) {
      src_.push_back(rows_[i % distinct].data());
      weights_.push_back(std::normal_distribution<float>()(random));
    }
    for (int b = 0; b < 2; ++b) biases_.push_back(array(shape.dst_type, RowKind::kNormal, random));
  }

  RowSum sum() {
    RowSum sum{src_.data(), shape_.weighted ? weights_.data() : nullptr, shape_.n, {}, dst_.data()};
    for (int b = 0; b < 2; ++b) {
      if ((shape_.biases >> b & 1) != 0) sum.bias[b] = biases_[static_cast<size_t>(b)].data();
    }
    return sum;
  }

  void check() {
    const RowSum expected = sum();
    for (size_t h = 0; h < shape_.hidden; ++h) {
      const float value = reference_sum(expected, h, shape_.src_type, shape_.dst_type);
      uint32_t got = 0;
      std::memcpy(&got, dst_.data() + h * size_of(shape_.dst_type), size_of(shape_.dst_type));
      ASSERT_EQ(got, reference_from_float(shape_.dst_type, value))
          << name_of(shape_.src_type) << " to " << name_of(shape_.dst_type) << " n " << shape_.n
          << " hidden " << shape_.hidden << " element " << h << " weighted " << shape_.weighted
          << " biases " << shape_.biases;
    }
    ASSERT_TRUE(dst_.guards_intact());
  }

 private:
  static size_t misalignment(std::mt19937_64& random) {
    return random() % 2 == 0 ? random() % 64 : 0;
  }
  Array array(DataType dtype, RowKind kind, std::mt19937_64& random) {
    Array a(shape_.hidden * size_of(dtype), misalignment(random));
    fill_row(a.data(), shape_.hidden, dtype, kind, random);
    return a;
  }

  SumShape shape_;
  Array dst_;
  std::vector<Array> rows_;
  std::vector<Array> biases_;
  std::vector<const void*> src_;
  std::vector<float> weights_;
};

void check_sums(SumShape shape, std::mt19937_64& random) {
  std::vector<SumCase> cases;
  for (const uint32_t n : {0u, 1u, 2u, 5u, 8u, 64u}) {
    if (n > 5 && shape.hidden > 1000) continue;
    shape.n = n;
    shape.weighted = random() % 4 != 0;
    shape.biases = static_cast<int>(random() % 4);
    cases.emplace_back(shape, kRowKinds[random() % 6], random);
  }
  std::vector<RowSum> sums;
  for (SumCase& c : cases) sums.push_back(c.sum());
  sum_rows(sums.data(), sums.size(), {shape.src_type, shape.dst_type, shape.hidden, shape.stores});
  for (SumCase& c : cases) {
    c.check();
    if (testing::Test::HasFatalFailure()) return;
  }
}

template <typename Body>
void for_every_pair_of_types(Body body) {
  for (const DataType src_type : kRowTypes) {
    for (const DataType dst_type : kRowTypes) {
      body(src_type, dst_type);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(RowSum, EveryPairOfTypesOnEveryTarget) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  for_every_target([&] {
    std::mt19937_64 random(seed);
    for_every_pair_of_types([&](DataType src_type, DataType dst_type) {
      for (const size_t hidden : {0, 1, 15, 64, 127, 128, 129, 300, 7168}) {
        for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
          for (int repeat = 0; repeat < (hidden > 1000 ? 1 : 4); ++repeat) {
            check_sums({src_type, dst_type, hidden, stores, 0, false, 0}, random);
            if (testing::Test::HasFatalFailure()) return;
          }
        }
      }
    });
  });
}

TEST(RowSum, NothingOfTheCallersEnvironmentShows) {
  for_every_target([] {
    std::mt19937_64 random(37);
    for_every_pair_of_types([&](DataType src_type, DataType dst_type) {
      for (const RowKind kind : kRowKinds) {
        SumCase c({src_type, dst_type, 200, Stores::kCached, 6, true, 3}, kind, random);
        const RowSum sum = c.sum();
        bool intact;
        {
          HostileFpEnvironment hostile;
          sum_rows(&sum, 1, {src_type, dst_type, 200, Stores::kCached});
          intact = HostileFpEnvironment::intact();
        }
        EXPECT_TRUE(intact);
        c.check();
      }
    });
  });
}

float sum_of_one(const RowSum& given, DataType dtype = DataType::kFloat32) {
  float result = 7;
  RowSum sum = given;
  sum.dst = &result;
  sum_rows(&sum, 1, {dtype, DataType::kFloat32, 1, Stores::kCached});
  return result;
}

TEST(RowSum, NoRowsLeaveTheBiasOrZero) {
  for_every_target([] {
    const float minus_zero = -0.0f;
    const float one = 1;
    EXPECT_EQ(bits_of(sum_of_one({nullptr, nullptr, 0, {}, nullptr})), 0u);
    EXPECT_EQ(bits_of(sum_of_one({nullptr, nullptr, 0, {&minus_zero, nullptr}, nullptr})),
              0x80000000u);
    EXPECT_EQ(sum_of_one({nullptr, nullptr, 0, {nullptr, &one}, nullptr}), 1.0f);
    EXPECT_EQ(sum_of_one({nullptr, nullptr, 0, {&one, &one}, nullptr}), 2.0f);
    const void* row = &minus_zero;
    EXPECT_EQ(bits_of(sum_of_one({&row, nullptr, 1, {}, nullptr})), 0u);  // +0 + -0
  });
}

TEST(RowSum, ProductsAreRoundedBeforeTheyAreAdded) {
  for_every_target([] {
    const float x = 1.0f + 0x1p-12f;  // squared: 1 + 2^-11 + 2^-24, the last bit is lost
    const float minus = -(1.0f + 0x1p-11f);
    const void* rows[] = {&minus, &x};
    const float weights[] = {1.0f, x};
    EXPECT_EQ(sum_of_one({rows, weights, 2, {}, nullptr}), 0.0f);
  });
}

TEST(RowSum, AscendingOrder) {
  for_every_target([] {
    const float large = 0x1p24f;
    const float one = 1;
    const float minus = -0x1p24f;
    const void* first[] = {&large, &one, &minus};
    const void* last[] = {&large, &minus, &one};
    EXPECT_EQ(sum_of_one({first, nullptr, 3, {}, nullptr}), 0.0f);
    EXPECT_EQ(sum_of_one({last, nullptr, 3, {}, nullptr}), 1.0f);
  });
}

TEST(RowSum, ResultInPlaceOfARowOrOfTheBias) {
  for_every_target([] {
    std::mt19937_64 random(41);
    for (const DataType dtype : kRowTypes) {
      for (const bool on_bias : {false, true}) {
        SumCase c({dtype, dtype, 333, Stores::kStreaming, 3, true, 1}, RowKind::kNormal, random);
        RowSum sum = c.sum();
        sum_rows(&sum, 1, {dtype, dtype, 333, Stores::kStreaming});
        std::vector<uint8_t> apart(333 * size_of(dtype));
        std::memcpy(apart.data(), sum.dst, apart.size());
        sum.dst = const_cast<void*>(on_bias ? sum.bias[0] : sum.src[1]);
        sum_rows(&sum, 1, {dtype, dtype, 333, Stores::kStreaming});
        EXPECT_EQ(std::memcmp(sum.dst, apart.data(), apart.size()), 0) << name_of(dtype);
      }
    }
  });
}

// The largest error of sums of 8 weighted bf16 rows, in units of 2^-8 * sum |w * v|, against f64;
// `bf16_accumulator` rounds after every addition, as it must not be.
double largest_error(bool bf16_accumulator, std::mt19937_64& random) {
  constexpr size_t kHidden = 4096;
  constexpr DataType kType = DataType::kBfloat16;
  SumCase c({kType, kType, kHidden, Stores::kCached, 8, true, 0}, RowKind::kNormal, random);
  const RowSum sum = c.sum();
  sum_rows(&sum, 1, {kType, kType, kHidden, Stores::kCached});
  double largest = 0;
  for (size_t h = 0; h < kHidden; ++h) {
    double exact = 0;
    double size = 0;
    float rounded = 0;
    for (uint32_t i = 0; i < 8; ++i) {
      const float x = load_float(static_cast<const uint8_t*>(sum.src[i]), h, kType);
      exact += double{sum.weights[i]} * x;
      size += std::fabs(double{sum.weights[i]} * x);
      rounded =
          reference_to_float(kType, reference_from_float(kType, rounded + sum.weights[i] * x));
    }
    const float ours = load_float(static_cast<const uint8_t*>(sum.dst), h, kType);
    const double error = std::fabs((bf16_accumulator ? rounded : ours) - exact);
    largest = std::max(largest, (error - 8 * 0x1p-24 * size) / (0x1p-8 * size));
  }
  return largest;
}

TEST(RowSum, OneRoundingIsWithinTheBoundAndANarrowAccumulatorIsNot) {
  std::mt19937_64 random(43);
  EXPECT_LE(largest_error(false, random), 1.0);
  EXPECT_GT(largest_error(true, random), 1.0);
}

}  // namespace
}  // namespace tutti
