#include "tests/hostile/rank.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace tutti {

bool went_well(const char* what, tuttiResult_t result) {
  if (result == tuttiSuccess) return true;
  std::printf("%s %d %s\n", what, static_cast<int>(result), tuttiGetLastError(nullptr));
  std::fflush(stdout);
  return false;
}

Memory::Memory(size_t bytes, bool mapped) : mapped_(mapped) {
  if (mapped) {
    (void)went_well("memory", tuttiMemAlloc(&at_, bytes));
  } else {
    at_ = std::malloc(bytes);
  }
  if (at_ == nullptr) std::exit(3);
}

Memory::~Memory() {
  if (mapped_) {
    tuttiMemFree(at_);
  } else {
    std::free(at_);
  }
}

int32_t value(int rank, int turn, size_t i) {
  return rank * 1000 + turn + static_cast<int32_t>(i % 777);
}

bool check(const char* what, size_t i, int32_t got, int32_t expected) {
  if (got == expected) return true;
  std::printf("WRONG %s: element %zu: expected %d, got %d\n", what, i, expected, got);
  return false;
}

bool all_reduce_is_right(const Rank& r, size_t count, int turn, const Memory& in,
                         const Memory& out) {
  for (size_t i = 0; i < count; ++i) in.data()[i] = value(r.rank, turn, i);
  std::fill_n(out.data(), count, -1);
  if (!went_well("all_reduce", tuttiAllReduce(in.data(), out.data(), count, tuttiInt32, tuttiSum,
                                              r.comm, nullptr))) {
    return false;
  }
  const int32_t ranks = r.nranks * (r.nranks - 1) / 2;
  for (size_t i = 0; i < count; ++i) {
    const int32_t expected = ranks * 1000 + r.nranks * value(0, turn, i);
    if (!check("all_reduce", i, out.data()[i], expected)) return false;
  }
  return true;
}

int num_descriptors() {
  return static_cast<int>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

int num_mappings() {
  std::ifstream maps("/proc/self/maps");
  return static_cast<int>(std::count(std::istreambuf_iterator<char>(maps), {}, '\n'));
}

int join_and_run(const std::function<int(const Rank&)>& scenario) {
  Rank rank;
  if (!went_well("init", tuttiCommInitEnv(&rank.comm, nullptr))) return 1;
  tuttiCommUserRank(rank.comm, &rank.rank);
  tuttiCommCount(rank.comm, &rank.nranks);
  int code = scenario(rank);
  if (code == 0 && !went_well("finalize", tuttiCommFinalize(rank.comm))) code = 1;
  if (!went_well("destroy", tuttiCommDestroy(rank.comm))) code = 1;
  if (code == 0) std::printf("right\n");
  return code;
}

}  // namespace tutti
