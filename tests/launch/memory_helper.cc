// One rank of a job that weighs itself: memory_helper COMMUNICATORS. Prints lines "STAGE ANON SHMEM
// POOL", in KiB: what this process takes more than before init, in private memory, in memory that
// it shares, each page divided by the processes that have it mapped, and, of that, in its regions.
//
// All ranks stand between two barriers while they weigh themselves, so that what they say adds up.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <malloc.h>
#include <string>
#include <sys/resource.h>
#include <vector>

#include "tutti/tutti.h"

namespace {

constexpr size_t kLarge = size_t{8} << 20;
constexpr long kArenaKiB = 64 << 10;  // memory that peers map comes in arenas of this length

tuttiComm_t comm;
int rank, nranks;
std::vector<char> out(kLarge), in(kLarge);

void must(const char* what, tuttiResult_t result) {
  if (result == tuttiSuccess) return;
  std::printf("rank %d: %s: %s\n", rank, what, tuttiGetLastError(nullptr));
  std::exit(1);
}

struct Weight {
  long anon = 0;  // KiB
  long shmem = 0;
  long pool = 0;
};

// Of all mappings, one after the other: "Pss: N kB" belongs to the last header.
Weight weigh() {
  malloc_trim(0);
  Weight weight;
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool shared = false;
  bool arena = false;
  while (std::getline(smaps, line)) {
    long kib = 0;
    unsigned long low = 0, high = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &low, &high) == 2 &&
        line.find("kB") == std::string::npos) {
      shared = line.find("memfd:tutti") != std::string::npos;
      arena = shared && static_cast<long>((high - low) >> 10) == kArenaKiB;
    } else if (std::sscanf(line.c_str(), "Pss: %ld kB", &kib) == 1 && shared) {
      (arena ? weight.pool : weight.shmem) += kib;
    } else if (std::sscanf(line.c_str(), "Anonymous: %ld kB", &kib) == 1) {
      weight.anon += kib;
    }
  }
  return weight;
}

Weight before;

void report(const char* stage) {
  if (comm != nullptr) must("barrier", tuttiBarrier(comm, nullptr));
  const Weight now = weigh();
  std::printf("%s %ld %ld %ld\n", stage, now.anon - before.anon, now.shmem, now.pool);
  if (comm != nullptr) must("barrier", tuttiBarrier(comm, nullptr));
}

void talk_to(int peer, size_t bytes) {
  must("group", tuttiGroupStart());
  must("send", tuttiSend(out.data(), bytes, tuttiUint8, peer, comm, nullptr));
  must("recv", tuttiRecv(in.data(), bytes, tuttiUint8, peer, comm, nullptr));
  must("group", tuttiGroupEnd());
}

// With each, small and large; with all at once. Each often enough to use every slot of a ring.
void talk() {
  for (size_t bytes : {size_t{8}, size_t{200}, size_t{1} << 10, size_t{16} << 10}) {
    for (int i = 0; i < 100; ++i) {
      for (int step = 0; step < nranks; ++step) {
        const int peer = ((step - rank) % nranks + nranks) % nranks;
        if (peer != rank) talk_to(peer, bytes);
      }
      must("all_reduce",
           tuttiAllReduce(out.data(), in.data(), bytes, tuttiUint8, tuttiSum, comm, nullptr));
    }
  }
  for (size_t bytes : {size_t{256} << 10, kLarge}) {
    for (int step = 0; step < nranks; ++step) {
      const int peer = ((step - rank) % nranks + nranks) % nranks;
      if (peer != rank) talk_to(peer, bytes);
    }
    must("all_reduce",
         tuttiAllReduce(out.data(), in.data(), bytes, tuttiUint8, tuttiSum, comm, nullptr));
  }
}

void use(tuttiComm_t c) {
  must("barrier", tuttiBarrier(c, nullptr));
  must("all_reduce",
       tuttiAllReduce(out.data(), in.data(), 256, tuttiFloat32, tuttiSum, c, nullptr));
}

}  // namespace

int main(int argc, char** argv) {
  // What most systems give a process.
  const rlimit files = {1024, 1024};
  setrlimit(RLIMIT_NOFILE, &files);
  const int communicators = argc > 1 ? std::atoi(argv[1]) : 0;
  std::memset(out.data(), 1, out.size());
  std::memset(in.data(), 1, in.size());
  before = weigh();
  must("init", tuttiCommInitEnv(&comm, nullptr));
  must("rank", tuttiCommUserRank(comm, &rank));
  must("nranks", tuttiCommCount(comm, &nranks));
  report("init");
  talk();
  report("talk");
  std::vector<tuttiComm_t> more(static_cast<size_t>(communicators));
  for (tuttiComm_t& c : more) must("split", tuttiCommSplit(comm, 0, rank, &c, nullptr));
  report("created");
  for (tuttiComm_t c : more) use(c);
  report("used");
  for (tuttiComm_t c : more) must("destroy", tuttiCommDestroy(c));
  report("destroyed");
  must("finalize", tuttiCommFinalize(comm));
  must("destroy", tuttiCommDestroy(comm));
  return 0;
}
