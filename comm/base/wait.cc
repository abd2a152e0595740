#include "comm/base/wait.h"

#include <poll.h>
#include <sched.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#include <algorithm>

namespace tutti {
namespace {

constexpr uint32_t kSpinsPerReport = 64;
constexpr uint32_t kFirstNapNs = 50'000;
constexpr uint32_t kLastNapNs = 1'000'000;
constexpr uint32_t kLongestBlock = 2;  // 2^n ms

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

WaitRungs rungs_for(WaitRungs rungs, const HostShare& share) {
  if (share.crowded()) rungs.spins = 0;
  return rungs;
}

void yield_core() { sched_yield(); }

bool WaitLadder::tick() {
  const uint32_t tick = ticks_;
  if (tick < rungs_.spins) {
    ++ticks_;
    pause();
    return ticks_ % kSpinsPerReport == 0;
  }
  if (tick - rungs_.spins < rungs_.yields) {
    ++ticks_;
    yield_core();
    return true;
  }
  block();
  return true;
}

void WaitLadder::block() {
  // Both double from the first to the last length, counted by how far ticks_ is past the yields.
  const uint32_t naps = ticks_ - rungs_.spins - rungs_.yields;
  if (fd_ >= 0) {
    pollfd entry{fd_, POLLIN, 0};
    // An error or an interrupt only means polling again sooner; the caller's own checks decide.
    poll(&entry, 1, 1 << naps);
    if (naps < kLongestBlock) ++ticks_;
    return;
  }
  const uint32_t nap_ns = std::min(kFirstNapNs << std::min(naps, 5u), kLastNapNs);
  if (nap_ns < kLastNapNs) ++ticks_;
  const timespec nap{0, static_cast<long>(nap_ns)};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
}

}  // namespace tutti
