// CollectiveCall: one validated call; CallRecord: what ranks compare of it. Values (a call moves).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "comm/base/types.h"
#include "comm/exec/layout.h"
#include "comm/schedule/catalog.h"

namespace tutti {

// Pre-multiplied sums carry their scalar: one element of the call's dtype.
struct Scalar {
  alignas(8) unsigned char bytes[8] = {};
};

// What a plan depends on, where blocks are equal.
struct CallShape {
  Collective collective = Collective::kBarrier;
  DataType dtype = DataType::kUint8;
  ReduceOp op = ReduceOp::kSum;
  bool in_place = false;
  int32_t root = 0;
  size_t count = 0;  // per block
  bool operator==(const CallShape&) const = default;
};

struct CollectiveCall : CallShape {
  bool counts_known_to_all = true;  // false: gather_v, scatter_v, all_to_all_v
  uint64_t counts_hash = 0;         // of the counts that all ranks know, when blocks differ
  const void* send = nullptr;
  void* recv = nullptr;
  Scalar scalar;
  // Counts and displacements where blocks differ; null where all have `count` elements.
  struct Blocks {
    BlockList input;
    BlockList output;
  };
  std::unique_ptr<Blocks> blocks;

  bool equal() const { return blocks == nullptr; }
};

// What identifies a call to the other ranks, for checks and for texts. Plain data of fixed size, so
// that it can be published without a lock and sent over a wire.
struct CallRecord {
  uint64_t sequence = 0;
  uint64_t fingerprint = 0;
  uint64_t count = 0;  // elements: per block, or in all when blocks differ
  uint32_t what = 0;   // collective | dtype << 8 | op << 16 | equal << 24
  int32_t root = 0;
  uint64_t algorithm = 0;  // index in the catalogue
};

// The hash that the first message of the operation carries; equal calls on all ranks give equal
// fingerprints. `plan_id` stands for the algorithm and its parameters.
uint64_t fingerprint(const CollectiveCall& call, int nranks, uint64_t plan_id);
// With sequence 0.
CallRecord record_of(const CollectiveCall& call, uint64_t fingerprint, uint64_t algorithm);

// "all_reduce of 1000 f32 (sum, two_shot), call 7"
std::string describe(const CallRecord& record);
// "all_reduce of 1000 f32 (sum)"
std::string describe(const CollectiveCall& call);

// Point to point: fingerprint over type and count; describe_point_to_point finds the type again
// from a fingerprint and a length, to say what the other side called.
uint64_t point_to_point_fingerprint(DataType dtype, size_t count);
std::string describe_point_to_point(uint64_t fingerprint, size_t bytes);

}  // namespace tutti
