// Case: one cell of the correctness matrix, and its printed name.
//
//   all_reduce/ring/f32/sum/n4/1023/mixed/plain/root0
//   call / algorithm / dtype / op / ranks / count / place / memory / root; "-": does not apply.
//
// A Group is the cases that share inputs and results: one reference, many placements. Values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/types.h"
#include "comm/schedule/catalog.h"

namespace tutti {

enum class Call : uint8_t {
  kAllReduce,
  kReduce,
  kBroadcast,
  kAllGather,
  kAllGatherV,
  kReduceScatter,
  kReduceScatterV,
  kGather,
  kGatherV,
  kScatter,
  kScatterV,
  kAllToAll,
  kAllToAllV,
  kAllToAllVC,
  kBarrier,
  kSendRecv,   // to the next rank, in a group
  kSendAlone,  // the same outside a group
  kTagged,     // everybody to everybody, tags received in another order than sent
  kBatch,      // everybody to everybody, itself included
};
inline constexpr int kNumCalls = 19;

struct CallInfo {
  const char* name;
  std::optional<Collective> collective;  // none: point to point
  bool uneven;                           // blocks differ
  bool matrix;                           // one block size per pair of ranks
  bool in_place;                         // may be called in place
};
const CallInfo& info(Call call);
bool is_rooted(Call call);
bool is_reduction(Call call);

// Elements: of the whole payload, or of each block; of the largest block where blocks differ. The
// last two need that many rounds where the smallest scratch is allowed and the algorithm uses any.
enum class Count : uint8_t { kNone, kOne, kSmall, kLarge, kTwoRounds, kThreeRounds };
inline constexpr int kNumCounts = 6;
enum class Placement : uint8_t { kOut, kIn, kMixed };
inline constexpr int kNumPlacements = 3;
enum class Memory : uint8_t { kRegistered, kPlain, kMisaligned, kMixed };
inline constexpr int kNumMemories = 4;

inline constexpr int kRankCounts[] = {2, 3, 4, 5, 8};

struct Case {
  Call call = Call::kAllReduce;
  const Algorithm* algorithm = nullptr;  // null: point to point
  DataType dtype = DataType::kUint8;
  ReduceOp op = ReduceOp::kSum;
  int nranks = 2;
  Count count = Count::kOne;
  Placement place = Placement::kOut;
  Memory memory = Memory::kPlain;
  int root = 0;
};

// Whether the parameters go together: the algorithm runs this call, the operator is defined, ...
bool is_possible(const Case& c);

std::string name_of(const Case& c);
std::optional<Case> parse_case(std::string_view name);  // nullopt: not a name of a possible case

struct Variant {
  Placement place;
  Memory memory;
};
struct Group {
  Case common;  // place and memory are those of the first variant
  std::vector<Variant> variants;
};

// Every rank's own row and column of a matrix call must be equal where it may be called in place.
bool is_symmetric(const Group& group);
// Name without place and memory: what inputs and results depend on.
std::string name_of(const Group& group);

// Position of the algorithm among those of its collective. Communicators are made so that slot s
// selects the s-th algorithm of every collective.
int slot_of(const Case& c);
std::vector<std::pair<std::string, std::string>> algorithms_of_slot(int slot);
// Whether the case runs with the smallest scratch.
bool is_capped(const Case& c);

}  // namespace tutti
