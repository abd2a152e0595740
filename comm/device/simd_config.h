// Which Highway targets are generated. Included before any hwy header by every kernel file, so that
// all agree.
//
// AVX-512, AVX2 and the baseline (and what other architectures offer); the two SSE targets would
// cost compile time for machines without AVX2 only.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
