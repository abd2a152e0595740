// Ranks whose limits change while they live.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/hostile/rank.h"

namespace tutti {
namespace {

// Lowers a limit of this process for a while.
class Lowered {
 public:
  Lowered(__rlimit_resource which, rlim_t n) : which_(which) {
    getrlimit(which_, &before_);
    const rlimit lower = {n, before_.rlim_max};
    if (setrlimit(which_, &lower) != 0) std::exit(4);
  }
  ~Lowered() { setrlimit(which_, &before_); }
  Lowered(const Lowered&) = delete;
  Lowered& operator=(const Lowered&) = delete;

 private:
  const __rlimit_resource which_;
  rlimit before_ = {};
};

// The limit under which `room` further descriptors can be opened.
rlim_t limit_for(int room) {
  rlim_t limit = 0;
  for (;; ++limit) {
    const bool used = access(("/proc/self/fd/" + std::to_string(limit)).c_str(), F_OK) == 0;
    if (!used && room-- == 0) return limit;
  }
}

size_t mapped_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t pages = 0;
  statm >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Joins another job of the same ranks, who meet over the first one.
tuttiResult_t join_again(const Rank& rank, tuttiComm_t* comm) {
  const auto all_gather = [](const void* mine, void* all, size_t bytes, void* context) {
    const auto* r = static_cast<const Rank*>(context);
    return static_cast<int>(tuttiAllGather(mine, all, bytes, tuttiUint8, r->comm, nullptr));
  };
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  config.timeout_seconds = 2;
  return tuttiCommInitExchange(comm, rank.nranks, rank.rank, all_gather, const_cast<Rank*>(&rank),
                               &config);
}

// With room for `room` further descriptors on one of the ranks. False when something is wrong.
bool join_with_room(const Rank& rank, int limited, int room, const Memory& in, const Memory& out,
                    int* joined) {
  Rank again = rank;
  tuttiResult_t result = tuttiSuccess;
  if (rank.rank == limited) {
    const Lowered few(RLIMIT_NOFILE, limit_for(room));
    result = join_again(rank, &again.comm);
  } else {
    result = join_again(rank, &again.comm);
  }
  if (result == tuttiSuccess) {
    ++*joined;
    const bool right = all_reduce_is_right(again, 10'000, room, in, out) &&
                       went_well("finalize", tuttiCommFinalize(again.comm)) &&
                       went_well("destroy", tuttiCommDestroy(again.comm));
    if (!right) return false;
  } else if (std::strstr(tuttiGetLastError(nullptr), "rank ") == nullptr) {
    std::printf("room %d: no rank in: %s\n", room, tuttiGetLastError(nullptr));
    return false;
  }
  return went_well("barrier", tuttiBarrier(rank.comm, nullptr));
}

}  // namespace

void leave_address_space(size_t bytes) {
  static const Lowered for_good(RLIMIT_AS, mapped_bytes() + bytes);
}

void leave_descriptors(int room) { static const Lowered for_good(RLIMIT_NOFILE, limit_for(room)); }

// Joining with less and less room for descriptors works or fails, and leaves none behind.
int run_retries(const Rank& rank) {
  constexpr int kMostRoom = 16;
  const Memory in(40'000, false);
  const Memory out(40'000, false);
  // Everything that is made once, with room enough.
  for (size_t count : {1, 100, 10'000}) {
    if (!all_reduce_is_right(rank, count, 0, in, out)) return 1;
  }
  int joined = 0;
  for (int i = 0; i < 2; ++i) (void)join_with_room(rank, 0, 200, in, out, &joined);
  if (joined != 2) return 1;
  joined = 0;
  const int descriptors = num_descriptors();
  const int mappings = num_mappings();
  for (int room = kMostRoom; room >= 0; --room) {
    for (int limited : {0, 1}) {
      if (!join_with_room(rank, limited, room, in, out, &joined)) return 1;
    }
  }
  // What waits long on the first job makes a link of the control plane, once. Those of the others
  // are closed by its own thread.
  int more = num_descriptors() - descriptors;
  for (int ms = 0; more > 1 && ms < 5000; ++ms, more = num_descriptors() - descriptors) {
    usleep(1000);
  }
  const int more_mappings = num_mappings() - mappings;
  std::printf("joined %d of %d, descriptors %+d, mappings %+d\n", joined, 2 * (kMostRoom + 1), more,
              more_mappings);
  return joined > 0 && joined < 2 * kMostRoom && more <= 1 && more_mappings <= 4 ? 0 : 1;
}

// A process that may have no more threads is told so by what needs one, and goes on when it may.
int run_few_threads(const Rank& rank) {
  tuttiStream_t stream = nullptr;
  if (!went_well("stream", tuttiStreamCreate(&stream))) return 1;
  tuttiResult_t result = tuttiSuccess;
  {
    // Less than a stack.
    const Lowered little(RLIMIT_AS, mapped_bytes() + (size_t{256} << 10));
    result = tuttiBarrier(rank.comm, stream);
  }
  if (result != tuttiSystemError || std::strstr(tuttiGetLastError(nullptr), "thread") == nullptr) {
    std::printf("barrier on a stream: %d %s\n", static_cast<int>(result),
                tuttiGetLastError(nullptr));
    return 1;
  }
  return went_well("barrier", tuttiBarrier(rank.comm, stream)) &&
                 went_well("synchronize", tuttiStreamSynchronize(stream)) &&
                 went_well("destroy", tuttiStreamDestroy(stream))
             ? 0
             : 1;
}

}  // namespace tutti
