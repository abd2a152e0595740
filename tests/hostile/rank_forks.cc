// A rank that forks while its operations are on their way.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "tests/hostile/rank.h"

namespace tutti {
namespace {

constexpr size_t kCount = 100'000;
constexpr int kAhead = 4;  // operations on the stream at once
constexpr int kRounds = 120;
constexpr int kForkEvery = 10;

enum class Ending { kExit, kQuickExit, kExec };

// Every kind of call there is, in a child: the number of the first one that did not say
// tuttiForked, from 10 on; 0.
int first_not_refused(const Rank& rank, tuttiStream_t stream, void* memory) {
  tuttiComm_t c = rank.comm;
  tuttiComm_t other = nullptr;
  tuttiUniqueId id = {};
  tuttiWindow_t window = nullptr;
  tuttiStream_t made = nullptr;
  tuttiResult_t async = tuttiSuccess;
  tuttiRedOp_t op = tuttiSum;
  float scalar = 1;
  int n = 0;
  const size_t counts[2] = {1, 1};
  void* more = nullptr;
  const tuttiResult_t results[] = {
      tuttiAllReduce(memory, memory, 1, tuttiInt32, tuttiSum, c, nullptr),
      tuttiAllReduce(memory, memory, 1, tuttiInt32, tuttiSum, c, stream),
      tuttiReduce(memory, memory, 1, tuttiInt32, tuttiSum, 0, c, nullptr),
      tuttiBroadcast(memory, memory, 1, tuttiInt32, 0, c, stream),
      tuttiAllGather(memory, memory, 1, tuttiInt32, c, nullptr),
      tuttiAllGatherV(memory, 1, memory, counts, counts, tuttiInt32, c, nullptr),
      tuttiReduceScatter(memory, memory, 1, tuttiInt32, tuttiSum, c, nullptr),
      tuttiGather(memory, memory, 1, tuttiInt32, 0, c, nullptr),
      tuttiScatter(memory, memory, 1, tuttiInt32, 0, c, nullptr),
      tuttiAlltoAll(memory, memory, 1, tuttiInt32, c, nullptr),
      tuttiBarrier(c, nullptr),
      tuttiBarrier(c, stream),
      tuttiSend(memory, 1, tuttiInt32, 1 - rank.rank, c, nullptr),
      tuttiRecv(memory, 1, tuttiInt32, 1 - rank.rank, c, stream),
      tuttiSendTag(memory, 1, tuttiInt32, 1 - rank.rank, 3, c, nullptr),
      tuttiBatchSendRecv(nullptr, 0, c, nullptr),
      tuttiGroupStart(),
      tuttiGroupEnd(),
      tuttiCommInitAll(&other, 1, nullptr),
      tuttiCommInitEnv(&other, nullptr),
      tuttiGetUniqueId(&id),
      tuttiCommSplit(c, 0, 0, &other, nullptr),
      tuttiCommCreateGroup(c, &n, 1, 0, &other, nullptr),
      tuttiCommCount(c, &n),
      tuttiCommUserRank(c, &n),
      tuttiCommGetAsyncError(c, &async),
      tuttiCommRegister(c, memory, 64, &window),
      tuttiRedOpCreatePreMulSum(&op, &scalar, tuttiFloat32, c),
      tuttiStreamSynchronize(stream),
      tuttiStreamQuery(stream),
      tuttiStreamCreate(&made),
      tuttiStreamDestroy(stream),
      tuttiMemAlloc(&more, 64),
      tuttiMemFree(memory),
      tuttiCommFinalize(c),
      tuttiCommAbort(c),
      tuttiCommDestroy(c),
  };
  int number = 10;
  for (tuttiResult_t result : results) {
    if (result != tuttiForked) return number;
    ++number;
  }
  return 0;
}

pid_t fork_child(const Rank& rank, tuttiStream_t stream, void* memory, Ending ending,
                 const char* self, int before) {
  const std::string descriptors = std::to_string(before);
  std::fflush(stdout);
  const pid_t child = fork();
  if (child != 0) return child;
  if (ending == Ending::kExec) {
    execl(self, self, "inherited", descriptors.c_str(), nullptr);
    _exit(9);
  }
  const int code = first_not_refused(rank, stream, memory);
  if (ending == Ending::kQuickExit) _exit(code);
  std::exit(code);  // with everything that runs at exit
}

bool ended_well(pid_t child) {
  int status = -1;
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  std::printf("a child ended with status %#x\n", status);
  return false;
}

struct Buffers {
  Memory in{kCount * sizeof(int32_t), true};
  Memory out{kCount * sizeof(int32_t), true};
};

bool is_right(const Rank& rank, int round, int k, const Buffers& buffers) {
  for (size_t i = 0; i < kCount; ++i) {
    const int32_t expected = rank.nranks * (round + k) + static_cast<int32_t>(i % 99) + 1;
    if (buffers.out.data()[i] == expected) continue;
    std::printf("WRONG round %d operation %d: element %zu: expected %d, got %d\n", round, k, i,
                expected, buffers.out.data()[i]);
    return false;
  }
  return true;
}

}  // namespace

int run_forks(const Rank& rank, const char* self, int before) {
  tuttiStream_t stream = nullptr;
  if (!went_well("stream", tuttiStreamCreate(&stream))) return 1;
  std::array<Buffers, kAhead> buffers;
  std::vector<pid_t> children;
  for (int round = 0; round < kRounds; ++round) {
    for (int k = 0; k < kAhead; ++k) {
      const Buffers& b = buffers[static_cast<size_t>(k)];
      for (size_t i = 0; i < kCount; ++i) {
        b.in.data()[i] = round + k + (rank.rank == 0 ? static_cast<int32_t>(i % 99) : 1);
        b.out.data()[i] = -1;
      }
      if (!went_well("all_reduce", tuttiAllReduce(b.in.data(), b.out.data(), kCount, tuttiInt32,
                                                  tuttiSum, rank.comm, stream))) {
        return 1;
      }
    }
    if (round % kForkEvery == rank.rank) {
      const auto ending = static_cast<Ending>(round / kForkEvery % 3);
      children.push_back(fork_child(rank, stream, buffers[0].out.data(), ending, self, before));
    }
    if (!went_well("synchronize", tuttiStreamSynchronize(stream))) return 1;
    for (int k = 0; k < kAhead; ++k) {
      if (!is_right(rank, round, k, buffers[static_cast<size_t>(k)])) return 1;
    }
  }
  bool well = true;
  for (pid_t child : children) well = ended_well(child) && well;
  return went_well("destroy", tuttiStreamDestroy(stream)) && well ? 0 : 1;
}

}  // namespace tutti
