// One rank of a job whose allocations and locks are counted here, and whose system calls are
// counted by a tracer, between marks (tracer.h).
#include <algorithm>
#include <cstdio>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/hostile/counted.h"
#include "tests/hostile/interposed.h"
#include "tests/hostile/rank.h"

namespace tutti {
namespace {

constexpr int kWarmUp = 200;
constexpr size_t kMostBytes = kCountedBytes[kCountedSizes - 1];

struct Buffers {
  Memory in{kMostBytes, true};
  Memory out{kMostBytes * 2, true};  // an all-gather of two ranks
};

using Call = tuttiResult_t (*)(const Rank&, const Buffers&, size_t count);
struct Kind {
  const char* name;
  Call call;
};

constexpr Kind kKinds[kCountedKinds] = {
    {"all_reduce",
     [](const Rank& r, const Buffers& b, size_t count) {
       return tuttiAllReduce(b.in.data(), b.out.data(), count, tuttiInt32, tuttiSum, r.comm,
                             nullptr);
     }},
    {"broadcast",
     [](const Rank& r, const Buffers& b, size_t count) {
       return tuttiBroadcast(b.in.data(), b.out.data(), count, tuttiInt32, 0, r.comm, nullptr);
     }},
    {"all_gather",
     [](const Rank& r, const Buffers& b, size_t count) {
       return tuttiAllGather(b.in.data(), b.out.data(), count, tuttiInt32, r.comm, nullptr);
     }},
    {"all_to_all",
     [](const Rank& r, const Buffers& b, size_t count) {
       return tuttiAlltoAll(b.in.data(), b.out.data(), count / 2, tuttiInt32, r.comm, nullptr);
     }},
};

// A call that nothing in Tutti makes.
void mark() { (void)syscall(SYS_getppid); }

bool run_block(const Rank& rank, const Kind& kind, const Buffers& buffers, size_t count, int n) {
  for (int i = 0; i < n; ++i) {
    if (!went_well(kind.name, kind.call(rank, buffers, count))) return false;
  }
  return true;
}

// The fewest of any block: whoever waits for long takes locks and queues his operation.
bool count_kind(const Rank& rank, const Kind& kind, const Buffers& buffers, size_t count,
                int blocks) {
  if (!run_block(rank, kind, buffers, count, kWarmUp)) return false;
  Asked fewest = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
  for (int block = 0; block < blocks; ++block) {
    const Asked before = asked();
    mark();
    if (!run_block(rank, kind, buffers, count, kCountedPerBlock)) return false;
    mark();
    const Asked after = asked();
    fewest.allocations = std::min(fewest.allocations, after.allocations - before.allocations);
    fewest.frees = std::min(fewest.frees, after.frees - before.frees);
    fewest.locks = std::min(fewest.locks, after.locks - before.locks);
  }
  std::printf("counted %s of %zu bytes: allocations %llu frees %llu locks %llu\n", kind.name,
              count * sizeof(int32_t), static_cast<unsigned long long>(fewest.allocations),
              static_cast<unsigned long long>(fewest.frees),
              static_cast<unsigned long long>(fewest.locks));
  return true;
}

int run_counted(const Rank& rank) {
  const Buffers buffers;
  // A tracer comes when it reads this, and says so.
  std::printf("ready\n");
  std::fflush(stdout);
  char go;
  (void)!read(STDIN_FILENO, &go, 1);
  if (!went_well("barrier", tuttiBarrier(rank.comm, nullptr))) return 1;
  for (size_t bytes : kCountedBytes) {
    for (size_t kind = 0; kind < kCountedKinds; ++kind) {
      const int blocks = kCountedBlocks[kind];
      if (!count_kind(rank, kKinds[kind], buffers, bytes / sizeof(int32_t), blocks)) return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace tutti

int main() { return tutti::join_and_run(tutti::run_counted); }
