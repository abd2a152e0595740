#include "comm/base/wait.h"

#include <poll.h>
#include <sched.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <thread>

#include "comm/base/cores.h"

namespace tutti {
namespace {

constexpr uint32_t kSpinsPerReport = 64;
constexpr uint32_t kFirstNapNs = 50'000;
constexpr uint32_t kLastNapNs = 1'000'000;
constexpr int kBlockMs = 1;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int cores_by_affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Fails on machines with more cores than the fixed set holds; then the plain count must do.
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int usable_cores() {
  int cores = cores_by_affinity();
  const int quota = cgroup_core_quota("/proc/self/cgroup", "/sys/fs/cgroup");
  if (quota > 0) cores = std::min(cores, quota);
  return std::max(cores, 1);
}

WaitRungs rungs_for(WaitRungs rungs, int local_ranks, int cores) {
  if (local_ranks > cores) rungs.spins = 0;
  return rungs;
}

bool WaitLadder::tick() {
  const uint32_t tick = ticks_;
  if (tick < rungs_.spins) {
    ++ticks_;
    pause();
    return ticks_ % kSpinsPerReport == 0;
  }
  if (tick - rungs_.spins < rungs_.yields) {
    ++ticks_;
    sched_yield();
    return true;
  }
  block();
  return true;
}

void WaitLadder::block() {
  if (fd_ >= 0) {
    pollfd entry{fd_, POLLIN, 0};
    // An error or an interrupt only means polling again sooner; the caller's own checks decide.
    poll(&entry, 1, kBlockMs);
    return;
  }
  // Naps double from the first to the last length, counted by how far ticks_ is past the yields.
  const uint32_t naps = ticks_ - rungs_.spins - rungs_.yields;
  const uint32_t nap_ns = std::min(kFirstNapNs << std::min(naps, 5u), kLastNapNs);
  if (nap_ns < kLastNapNs) ++ticks_;
  const timespec nap{0, static_cast<long>(nap_ns)};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
}

}  // namespace tutti
