// An asymmetric memory barrier: the side that runs often pays nothing, the side that runs once pays
// a system call that makes every running thread of the process order its memory accesses.
//
//   often:  flag.store(1, relaxed-or-release); light_barrier(); if (stop.load(acquire)) ...
//   once:   stop.store(1, release); process_barrier(); if (flag.load(acquire)) ...
// Without it both sides could miss each other's store. Thread-safe.
#pragma once

#include <atomic>

namespace tutti {

// Keeps the compiler from doing what the other side keeps the processor from.
inline void light_barrier() { std::atomic_signal_fence(std::memory_order_seq_cst); }

// Whether process_barrier() works here (Linux 4.14, not forbidden). Where it does not, the frequent
// side must store with std::memory_order_seq_cst. The answer never changes within a process.
bool has_process_barrier();
void process_barrier();

// The same between all processes of the host that have asked has_host_barrier().
bool has_host_barrier();
void host_barrier();

}  // namespace tutti
