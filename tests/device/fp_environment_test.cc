// A caller that flushes subnormals, rounds another way or traps gets the same bits, and its
// control word back.
#include <cfenv>
#include <gtest/gtest.h>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "comm/device/kernels.h"
#include "tests/device/every_target.h"

namespace tutti {
namespace {

float sum_of(float a, float b) {
  const void* src[] = {&a, &b};
  float result = 0;
  void* dst = &result;
  reduce({src, 2, &dst, 1, 1, DataType::kFloat32, ReduceOp::kSum, 0, Stores::kCached});
  return result;
}

TEST(FpEnvironment, RoundingModeOfTheCallerDoesNotMatter) {
  for_every_target([] {
    const float tie = 1.0f + 0x1p-23f;  // 1 + ulp + ulp/2 rounds to even: 1 + 2 ulp
    ASSERT_EQ(std::fesetround(FE_TOWARDZERO), 0);
    const float got = sum_of(tie, 0x1p-24f);
    const int mode = std::fegetround();
    std::fesetround(FE_TONEAREST);
    EXPECT_EQ(got, 1.0f + 0x1p-22f);
    EXPECT_EQ(mode, FE_TOWARDZERO);
  });
}

TEST(FpEnvironment, ExceptionFlagsAreGivenBack) {
  std::feclearexcept(FE_ALL_EXCEPT);
  volatile float large = 3e38f;
  EXPECT_GT(sum_of(large, large), large);
  EXPECT_EQ(std::fetestexcept(FE_OVERFLOW), 0);
}

#if defined(__SSE2__)
TEST(FpEnvironment, SubnormalsSurviveAFlushingCaller) {
  for_every_target([] {
    const unsigned saved = _mm_getcsr();
    const unsigned flushing = (saved & ~0x3Fu) | 0x8040;  // flush results, take inputs as zero
    _mm_setcsr(flushing);
    const uint32_t one_bit = 1;
    const void* src[] = {&one_bit, &one_bit};
    uint32_t result = 0;
    void* dst = &result;
    reduce({src, 2, &dst, 1, 1, DataType::kFloat32, ReduceOp::kSum, 0, Stores::kCached});
    const unsigned after = _mm_getcsr();
    _mm_setcsr(saved);
    EXPECT_EQ(result, 2u);
    EXPECT_EQ(after, flushing);
  });
}
#endif

}  // namespace
}  // namespace tutti
