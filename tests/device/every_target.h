// for_every_target: runs a test body once per SIMD target this machine can run, and restores the
// automatic choice. Not for tests that run kernels on other threads at the same time.
#pragma once

#include <gtest/gtest.h>
#include <string>

#include "comm/device/simd_target.h"

namespace tutti {

template <typename Body>
void for_every_target(Body body) {
  for (const std::string& target : simd_targets()) {
    SCOPED_TRACE("target " + target);
    ASSERT_TRUE(force_simd_target(target));
    body();
  }
  force_simd_target("");
}

}  // namespace tutti
