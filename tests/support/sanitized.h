// Whether a sanitizer looks on: where everything takes ten times as long, and a few of many sizes
// show what it is there for.
#pragma once

namespace tutti {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace tutti
