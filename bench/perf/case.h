// Case: one thing to measure, the same for every system: which collective, on what, how. With the
// rules that turn bytes into elements and times into bandwidths (nccl-tests' definitions, see
// docs/benchmarks.md). Value types; plain functions.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/perf/expert_case.h"
#include "comm/base/status.h"
#include "comm/base/types.h"

namespace perf {

enum class Collective : uint8_t {
  kAllReduce,
  kReduce,
  kBroadcast,
  kAllGather,
  kReduceScatter,
  kGather,
  kScatter,
  kAllToAll,
  kAllToAllV,
  kSendRecv,
  kBarrier,
  kExpertDispatch,
  kExpertCombine,
  kExpertRoundTrip,
};
inline constexpr int kNumKinds = 14;
inline constexpr int kNumCollectives = 11;  // without those of experts, which have other options
std::array<Collective, kNumCollectives> all_collectives();
std::array<Collective, kNumKinds - kNumCollectives> expert_collectives();
bool is_expert(Collective collective);
const char* name_of(Collective collective);  // "all_reduce", ...

inline constexpr int kRotatingRoot = -1;

struct Case {
  Collective collective = Collective::kAllReduce;
  tutti::DataType dtype = tutti::DataType::kFloat32;
  tutti::ReduceOp op = tutti::ReduceOp::kSum;
  size_t count = 0;          // what the call is given; all_to_all_v: elements one rank sends in all
  int root = kRotatingRoot;  // rooted collectives: 0, 1, 2, ... from call to call, or always this
  bool in_place = false;
  bool registered = false;  // memory of tuttiMemAlloc, registered
  ExpertShape expert;       // is_expert() only: `count` is tokens times hidden
};

bool has_operator(Collective collective);
bool has_root(Collective collective);
bool can_be_in_place(Collective collective);

// The largest count whose bytes are at most `bytes`: whole elements per rank.
size_t count_for(Collective collective, tutti::DataType dtype, size_t bytes, int nranks);
// all_gather, reduce_scatter, gather, scatter, all_to_all: of all blocks together; barrier: 0; of
// experts: of one rank's tokens.
size_t bytes_of(const Case& c, int nranks);
// busbw = algbw * this.
double bus_factor(Collective collective, int nranks);

// Elements of the two buffers of every rank.
size_t send_count(const Case& c, int nranks);
size_t recv_count(const Case& c, int nranks);
// all_to_all_v: elements from `source` to `dest`, of `total` that each rank sends (and receives).
// Uneven, a function of (dest - source) mod nranks: in the ratio of 1 : 3 : 5 : ...
size_t uneven_count(size_t total, int source, int dest, int nranks);

// Where each block starts and how long it is, by peer.
struct Blocks {
  std::vector<size_t> counts;
  std::vector<size_t> displs;
};
Blocks sent_blocks(const Case& c, int rank, int nranks);      // all_to_all_v only
Blocks received_blocks(const Case& c, int rank, int nranks);  // all_to_all_v only

// One line of text, and back.
std::string encode(const Case& c);
tutti::Result<Case> decode(std::string_view text);

}  // namespace perf
