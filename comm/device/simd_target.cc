#include "comm/device/simd_target.h"

#include <cstdint>

// After the configuration, which must come before any Highway header.
#include "comm/device/simd_config.h"
//
#include <hwy/highway.h>

#include "comm/device/kernels.h"

namespace tutti {
namespace {

constexpr int64_t kBaseline = HWY_STATIC_TARGET;

// Bits of the generated targets that the processor supports, without any choice forced.
int64_t available_targets() {
  int64_t forced = hwy::SupportedTargets();
  hwy::SetSupportedTargetsForTest(0);
  int64_t available = (hwy::SupportedTargets() & HWY_TARGETS) | kBaseline;
  hwy::SetSupportedTargetsForTest(forced);
  return available;
}

}  // namespace

std::vector<std::string> simd_targets() {
  std::vector<std::string> names;
  for (int64_t rest = available_targets(); rest != 0; rest &= rest - 1) {
    names.emplace_back(hwy::TargetName(rest & -rest));
  }
  return names;
}

bool force_simd_target(std::string_view name) {
  int64_t chosen = 0;
  for (int64_t rest = available_targets(); rest != 0; rest &= rest - 1) {
    if (name == hwy::TargetName(rest & -rest)) chosen = rest & -rest;
  }
  if (chosen == 0 && !name.empty()) return false;
  hwy::SetSupportedTargetsForTest(chosen);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return true;
}

const char* simd_target() {
  int64_t usable = (hwy::SupportedTargets() & HWY_TARGETS) | kBaseline;
  return hwy::TargetName(usable & -usable);
}

}  // namespace tutti
