#include "comm/device/row_copy.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "comm/device/simd_config.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/device/row_copy.cc"
#include <hwy/foreach_target.h>  // NOLINT: includes this file once per target
#include <hwy/highway.h>

#include "comm/device/stream_bytes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti {
namespace HWY_NAMESPACE {
namespace {

// What is asked for lies this many bytes ahead, at least: the processor fetches ahead by itself
// within a row, but cannot know where the next one is.
constexpr size_t kAhead = 4096;

// One fence for all rows.
void stream_rows(const TargetRows& dst, const SourceRows& src, size_t rows, size_t bytes) {
  const size_t rows_ahead = std::max<size_t>(1, kAhead / std::max<size_t>(1, bytes));
  for (size_t i = 0; i < rows; ++i) {
    const uint8_t* from = src[i];
    stream_bytes<true>(from, dst[i], bytes, src[std::min(i + rows_ahead, rows - 1)] - from);
  }
  hwy::FlushStream();
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tutti
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {

HWY_EXPORT(stream_rows);
void copy_rows(const TargetRows& dst, const SourceRows& src, size_t rows, size_t bytes,
               Stores stores) {
  if (stores == Stores::kStreaming) {
    HWY_DYNAMIC_DISPATCH(stream_rows)(dst, src, rows, bytes);
    return;
  }
  for (size_t i = 0; i < rows; ++i) {
    void* to = dst[i];
    copy(src[i], &to, 1, bytes, Stores::kCached);
  }
}

void zero_rows(const TargetRows& dst, size_t rows, size_t bytes) {
  for (size_t i = 0; i < rows && bytes > 0; ++i) std::memset(dst[i], 0, bytes);
}

}  // namespace tutti
#endif
