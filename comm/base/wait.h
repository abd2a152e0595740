// The one wait ladder: spin -> sched_yield -> block on a descriptor, or nap where there is none.
//
// Usage:   WaitLadder ladder(rungs, fd);
//          while (!work.advance()) { if (ladder.tick() == now-and-then) check deadline and abort }
// The caller polls its condition between ticks, so a wake-up can be late but never lost for longer
// than one block (at most 4 ms, 1 ms where there is no descriptor). Not thread-safe; one ladder
// per wait.
#pragma once

#include <cstdint>

namespace tutti {

// Rung lengths, from the transport. Spinning is skipped when more ranks share the host than it has
// cores: the peer we wait for needs this core.
struct WaitRungs {
  uint32_t spins = 2000;  // polls with a pause instruction between them
  uint32_t yields = 200;  // polls with sched_yield between them
};

// The ranks of a job on one host, and the cores they may use together.
struct HostShare {
  int ranks = 1;
  int cores = 1;
  constexpr bool crowded() const { return ranks > cores; }
};

// Shortens the rungs for such ranks.
WaitRungs rungs_for(WaitRungs rungs, const HostShare& share);

// Between two looks at what another core is about to write, with nothing else in between: the
// second begins when the first is over. Where several are under way at once the processor drops
// them all, and what it has begun after them, when the line is written.
inline void look_once() {
#if defined(__x86_64__)
  asm volatile("lfence" ::: "memory");
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

// Lets others run on this core: the middle rung by itself, for whoever polls a few times before it
// begins to wait.
void yield_core();

class WaitLadder {
 public:
  // `fd`: readable when polling again may help, -1 for none. Borrowed.
  explicit WaitLadder(WaitRungs rungs, int fd = -1) : rungs_(rungs), fd_(fd) {}

  // One step of waiting. True now and then (every 64 spins, every yield and every block): the
  // moments to check deadline, abort flag and peer health.
  bool tick();

  // Something moved: start again at the bottom rung.
  void reset() { ticks_ = 0; }

  // Whether the next tick() blocks or naps.
  bool blocks_next() const { return ticks_ >= rungs_.spins + rungs_.yields; }

 private:
  void block();
  WaitRungs rungs_;
  int fd_;
  uint32_t ticks_ = 0;
};

}  // namespace tutti
