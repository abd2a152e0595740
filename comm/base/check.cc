#include "comm/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace tutti {

void check_failed(const char* file, int line, const char* condition, const char* why) {
  // Straight to stderr: the logger may be the very thing that is broken.
  std::fprintf(stderr, "tutti: internal check failed at %s:%d: %s (%s)\n", file, line, condition,
               why);
  std::fflush(stderr);
  std::abort();
}

}  // namespace tutti
