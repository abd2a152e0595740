// Looking at and choosing the SIMD target, for tests, benchmarks and tutti-info.
//
// force_simd_target() changes the whole process: call it while no other thread runs a kernel.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tutti {

// Targets that this build contains and this machine can run, best first, e.g. {"AVX3", "AVX2",
// "SCALAR"}. Not affected by force_simd_target().
std::vector<std::string> simd_targets();

// Makes every kernel use `name` from now on; an empty name gives the automatic choice back. False,
// and no change, when this machine cannot run it.
bool force_simd_target(std::string_view name);

}  // namespace tutti
