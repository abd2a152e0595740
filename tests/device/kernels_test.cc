// Folds, copies and scaling, bit by bit against the scalar reference: every defined (dtype, op)
// cell on every SIMD target, with awkward counts, alignments and numbers of sources.
#include "comm/device/kernels.h"

#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

#include "tests/device/every_target.h"
#include "tests/device/test_arrays.h"
#include "tests/support/scalar_reference.h"

namespace tutti {
namespace {

// Random bits, with a special value (zeros of both signs, subnormals, NaNs, ...) now and then, and
// for half of the floats a moderate value, so that sums do more than overflow.
void fill(uint8_t* data, size_t count, DataType dtype, std::mt19937_64& random) {
  const size_t bytes = size_of(dtype);
  const std::vector<uint32_t> specials = special_patterns(dtype);
  for (size_t i = 0; i < count; ++i) {
    uint64_t bits = random();
    const uint64_t dice = random() % 8;
    if (dtype == DataType::kFloat64) {
      double moderate = static_cast<double>(static_cast<int64_t>(random() >> 40)) / 64;
      if (dice < 4) std::memcpy(&bits, &moderate, sizeof bits);
      if (dice == 7) bits = (random() & 1) << 63 | (random() & 1 ? 0x7FF0000000000000 : 0);
      if (dice == 6) bits = 0xFFF0000000000001;
    } else if (dice == 7) {
      bits = specials[random() % specials.size()];
    } else if (is_float(dtype) && dice < 4) {
      bits = reference_from_float(dtype, static_cast<float>(random() % 2048) / 64 - 16);
    }
    std::memcpy(data + i * bytes, &bits, bytes);
  }
}

struct Shape {
  int nsrc;
  int ndst;
  size_t count;
  bool in_place;
  Stores stores;
};

// One call of reduce() against the reference; avg is a sum with a divisor, as the executor asks.
void check_fold(DataType dtype, ReduceOp op, const Shape& shape, std::mt19937_64& random) {
  const size_t bytes = shape.count * size_of(dtype);
  auto misalignment = [&] { return random() % 3 == 0 ? random() % 64 : 16 * (random() % 4); };
  std::vector<Array> sources;
  std::vector<Array> destinations;
  for (int s = 0; s < shape.nsrc; ++s) {
    sources.emplace_back(bytes, misalignment());
    fill(sources.back().data(), shape.count, dtype, random);
  }
  for (int j = 0; j < shape.ndst; ++j) destinations.emplace_back(bytes, misalignment());
  std::vector<const void*> src;
  std::vector<void*> dst;
  for (Array& a : sources) src.push_back(a.data());
  for (Array& a : destinations) dst.push_back(a.data());
  if (shape.in_place) dst.back() = const_cast<void*>(src.back());

  const bool avg = op == ReduceOp::kAvg;
  const auto divisor = avg ? static_cast<uint32_t>(shape.nsrc + random() % 5) : 0u;
  const ReduceOp fold_op = avg ? ReduceOp::kSum : op;
  std::vector<uint8_t> expected(bytes + 1);
  ReferenceCall reference{expected.data(), src.data(), shape.nsrc, shape.count, dtype, fold_op};
  reference.divisor = divisor;
  reference_reduce(reference);
  reduce({src.data(), shape.nsrc, dst.data(), shape.ndst, shape.count, dtype, fold_op, divisor,
          shape.stores});
  for (void* got : dst) {
    ASSERT_EQ(std::memcmp(got, expected.data(), bytes), 0)
        << name_of(dtype) << ' ' << name_of(op) << " nsrc " << shape.nsrc << " ndst " << shape.ndst
        << " count " << shape.count << " in place " << shape.in_place;
  }
  for (const Array& a : sources) ASSERT_TRUE(a.guards_intact());
  for (const Array& a : destinations) ASSERT_TRUE(a.guards_intact());
}

template <typename Body>
void for_every_cell(Body body) {
  for (int t = 0; t < kNumDataTypes; ++t) {
    for (int o = 0; o < kNumReduceOps; ++o) {
      const auto dtype = static_cast<DataType>(t);
      const auto op = static_cast<ReduceOp>(o);
      if (op != ReduceOp::kPreMulSum && is_defined(dtype, op)) body(dtype, op);
    }
  }
}

TEST(Kernels, EveryCellOnEveryTarget) {
  for_every_target([] {
    std::mt19937_64 random(11);
    for_every_cell([&](DataType dtype, ReduceOp op) {
      for (int nsrc : {1, 2, 3, 8}) {
        for (int ndst : {1, 2, 3}) {
          for (size_t count : {size_t{1}, size_t{63}, size_t{260}, size_t{random() % 700}}) {
            for (Stores stores : {Stores::kCached, Stores::kStreaming}) {
              check_fold(dtype, op, {nsrc, ndst, count, random() % 2 == 0, stores}, random);
              if (testing::Test::HasFatalFailure()) return;
            }
          }
        }
      }
    });
  });
}

// Every pair of 8-bit patterns, every operator: nothing about fp8, bool and i8 is left to chance.
TEST(Kernels, EveryPairOfBytes) {
  std::vector<uint8_t> a(65536);
  std::vector<uint8_t> b(65536);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<uint8_t>(i >> 8);
    b[i] = static_cast<uint8_t>(i);
  }
  const void* src[] = {a.data(), b.data()};
  for_every_target([&] {
    for_every_cell([&](DataType dtype, ReduceOp op) {
      if (size_of(dtype) != 1) return;
      const bool avg = op == ReduceOp::kAvg;
      std::vector<uint8_t> expected(a.size());
      std::vector<uint8_t> got(a.size());
      reference_reduce({expected.data(), src, 2, a.size(), dtype, op});
      void* dst = got.data();
      reduce({src, 2, &dst, 1, a.size(), dtype, avg ? ReduceOp::kSum : op, avg ? 2u : 0u,
              Stores::kCached});
      ASSERT_EQ(got, expected) << name_of(dtype) << ' ' << name_of(op);
    });
  });
}

TEST(Kernels, EmptyFoldTouchesNothing) {
  uint8_t byte = kGuard;
  const void* src[] = {&byte, &byte};
  void* dst = &byte;
  reduce({src, 2, &dst, 1, 0, DataType::kUint8, ReduceOp::kSum, 0, Stores::kStreaming});
  copy(&byte, &dst, 1, 0, Stores::kStreaming);
  EXPECT_EQ(byte, kGuard);
}

TEST(Kernels, ScaleMatchesReference) {
  for_every_target([] {
    std::mt19937_64 random(13);
    for (DataType dtype : {DataType::kFloat16, DataType::kBfloat16, DataType::kFloat32,
                           DataType::kFloat64, DataType::kFloat8e4m3, DataType::kFloat8e5m2}) {
      for (size_t count : {0, 1, 17, 64, 333}) {
        const size_t bytes = count * size_of(dtype);
        Array src(bytes, random() % 64);
        Array dst(bytes, random() % 64);
        uint8_t scalar[8];
        fill(src.data(), count, dtype, random);
        fill(scalar, 1, dtype, random);
        std::vector<uint8_t> expected(bytes + 1);
        reference_scale(expected.data(), src.data(), count, dtype, scalar);
        scale(dst.data(), src.data(), count, dtype, scalar);
        EXPECT_EQ(std::memcmp(dst.data(), expected.data(), bytes), 0) << name_of(dtype);
        scale(src.data(), src.data(), count, dtype, scalar);
        EXPECT_EQ(std::memcmp(src.data(), expected.data(), bytes), 0) << name_of(dtype);
        EXPECT_TRUE(dst.guards_intact());
      }
    }
  });
}

TEST(Kernels, CopyAnyAlignment) {
  for_every_target([] {
    std::mt19937_64 random(17);
    for (size_t bytes : {size_t{0}, size_t{1}, size_t{100}, size_t{4097}, (size_t{1} << 20) + 5}) {
      for (int ndst : {1, 2, 3}) {
        for (Stores stores : {Stores::kCached, Stores::kStreaming}) {
          Array src(bytes, random() % 64);
          fill(src.data(), bytes, DataType::kUint8, random);
          std::vector<Array> copies;
          std::vector<void*> dst;
          for (int j = 0; j < ndst; ++j) copies.emplace_back(bytes, random() % 64);
          for (Array& a : copies) dst.push_back(a.data());
          copy(src.data(), dst.data(), ndst, bytes, stores);
          for (const Array& a : copies) {
            ASSERT_EQ(std::memcmp(a.data(), src.data(), bytes), 0);
            ASSERT_TRUE(a.guards_intact());
          }
        }
      }
    }
  });
}

TEST(Kernels, TargetsAreListedBestFirst) {
  const std::vector<std::string> targets = simd_targets();
  ASSERT_FALSE(targets.empty());
  EXPECT_EQ(targets.front(), simd_target());
  EXPECT_FALSE(force_simd_target("no such target"));
  for_every_target([] { EXPECT_NE(std::string(simd_target()), ""); });
  EXPECT_EQ(targets.front(), simd_target());
}

}  // namespace
}  // namespace tutti
