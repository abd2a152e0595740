// What ranks of jobs that tests confine, fork, count or trace have in common. A scenario prints
// what went wrong and returns the exit code of the rank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "tutti/tutti.h"

namespace tutti {

struct Rank {
  tuttiComm_t comm = nullptr;
  int rank = 0;
  int nranks = 0;
};

// Prints "WHAT CODE text" of a failure. Whether it was none.
bool went_well(const char* what, tuttiResult_t result);

// Memory for `bytes`, mapped by peers (tuttiMemAlloc) or not.
class Memory {
 public:
  Memory(size_t bytes, bool mapped);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  int32_t* data() const { return static_cast<int32_t*>(at_); }

 private:
  void* at_ = nullptr;
  const bool mapped_;
};

// One all-reduce of `count` whose every element says whether it is right, and differs from that of
// another `turn`.
bool all_reduce_is_right(const Rank& rank, size_t count, int turn, const Memory& in,
                         const Memory& out);

int32_t value(int rank, int turn, size_t i);  // what ranks send
// Prints what is wrong.
bool check(const char* what, size_t i, int32_t got, int32_t expected);

// Open descriptors of this process, and its mappings.
int num_descriptors();
int num_mappings();

// Joins the job of the environment, does that in it and leaves it; the exit code of the rank.
int join_and_run(const std::function<int(const Rank&)>& scenario);

// `self`: this program. `before`: descriptors open before it used Tutti.
int run_forks(const Rank& rank, const char* self, int before);
int run_communicators(const Rank& rank);
// Leaves this process so much more than it has now, for good.
void leave_address_space(size_t bytes);
void leave_descriptors(int room);
int run_retries(const Rank& rank);
int run_few_threads(const Rank& rank);

}  // namespace tutti
