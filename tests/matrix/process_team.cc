#include "tests/matrix/process_team.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "comm/base/check.h"
#include "comm/base/unique_fd.h"
#include "tests/matrix/communicators.h"

namespace tutti {

namespace {

// Only what is touched is ever there. The largest group needs 1.2 GB.
constexpr size_t kSharedBytes = size_t{4} << 30;
constexpr size_t kFirstOffset = 4096;

}  // namespace

// Where all find the same.
struct ProcessTeam::Shared {
  pthread_barrier_t all;
  std::array<std::atomic<uint64_t>, kMostRanks> counters;
  // Of runs with even and odd numbers: while a slow process still reads the verdicts of one run, a
  // fast one may write that of the next, but not yet that of the run after.
  std::array<std::array<Verdict, kMostRanks>, 2> verdicts;
};
static_assert(std::atomic<uint64_t>::is_always_lock_free, "shared between processes");

std::unique_ptr<ProcessTeam> ProcessTeam::join(const std::string& transport, std::string* error) {
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  config.transport = transport.c_str();
  config.timeout_seconds = kTimeoutSeconds;
  config.name = "matrix";
  tuttiComm_t world = nullptr;
  if (tuttiCommInitEnv(&world, &config) != tuttiSuccess) {
    *error = tuttiGetLastError(nullptr);
    return nullptr;
  }
  std::unique_ptr<ProcessTeam> team(new ProcessTeam(transport, world));
  *error = team->map_shared();
  if (!error->empty()) return nullptr;
  return team;
}

ProcessTeam::ProcessTeam(const std::string& transport, tuttiComm_t world)
    : transport_(transport), world_(world) {
  (void)tuttiCommUserRank(world_, &rank_);
  (void)tuttiCommCount(world_, &size_);
}

ProcessTeam::~ProcessTeam() {
  if (tuttiCommFinalize(world_) != tuttiSuccess) {
    std::fprintf(stderr, "matrix_test: %s\n", tuttiGetLastError(world_));
    (void)tuttiCommAbort(world_);
  }
  (void)tuttiCommDestroy(world_);
}

std::string ProcessTeam::map_shared() {
  if (size_ > kMostRanks) return "more than 8 ranks";
  UniqueFd file;
  std::array<int, 2> where{};  // pid and descriptor
  if (rank_ == 0) {
    file.reset(memfd_create("matrix", MFD_CLOEXEC));
    if (!file.valid() || ftruncate(file.get(), kSharedBytes) != 0) return "no shared memory";
    where = {getpid(), file.get()};
  }
  if (tuttiBroadcast(where.data(), where.data(), where.size(), tuttiInt32, 0, world_, nullptr) !=
      tuttiSuccess) {
    return tuttiGetLastError(world_);
  }
  if (rank_ != 0) {
    const std::string path =
        "/proc/" + std::to_string(where[0]) + "/fd/" + std::to_string(where[1]);
    file.reset(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!file.valid()) return "cannot open " + path + " of rank 0";
  }
  void* memory = mmap(nullptr, kSharedBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                      file.get(), 0);
  if (memory == MAP_FAILED) return "cannot map shared memory";
  shared_ = static_cast<Shared*>(memory);
  if (rank_ == 0) {
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared_->all, &attributes, static_cast<unsigned>(size_));
    pthread_barrierattr_destroy(&attributes);
  }
  // The barrier exists and the file is open everywhere before anybody goes on.
  if (tuttiBarrier(world_, nullptr) != tuttiSuccess) return tuttiGetLastError(world_);
  return "";
}

Verdict ProcessTeam::run(int n, const std::string& what, const Job& job) {
  auto& verdicts = shared_->verdicts[runs_++ % 2];
  const std::string who = " in process " + std::to_string(rank_);
  if (rank_ < n) {
    watched_.run(1, what + who, [&](int) { verdicts[static_cast<size_t>(rank_)] = job(rank_); });
  }
  watched_.run(1, "the others are not through with " + what + who,
               [&](int) { pthread_barrier_wait(&shared_->all); });
  return *std::max_element(verdicts.begin(), verdicts.begin() + n);
}

tuttiResult_t ProcessTeam::create(int n, const tuttiConfig_t& config, tuttiComm_t* handles) {
  std::fill_n(handles, n, nullptr);
  if (rank_ >= n) return tuttiSuccess;
  constexpr std::array<int, kMostRanks> kRanks = {0, 1, 2, 3, 4, 5, 6, 7};
  return tuttiCommCreateGroup(world_, kRanks.data(), n, 0, &handles[rank_], &config);
}

uint8_t* ProcessTeam::allocate(size_t bytes) {
  uint8_t* memory = reinterpret_cast<uint8_t*>(shared_) + kFirstOffset + used_;
  used_ += (bytes + 64) / 64 * 64;
  TUTTI_CHECK(kFirstOffset + used_ <= kSharedBytes, "a case needs more shared memory");
  return memory;
}

std::atomic<uint64_t>* ProcessTeam::counters() { return shared_->counters.data(); }

}  // namespace tutti
