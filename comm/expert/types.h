// What dispatch and combine are told, as plain values: the words of tutti/expert.h in C++.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tutti {

enum class ExpertLayout : uint8_t { kFlat, kExpertMajor, kExpertSlab, kRankMajor };
enum class ExpertCap : uint8_t { kNone, kRank, kExpertPerSource, kExpertGlobal };
enum class ExpertKeep : uint8_t { kPosition, kWeight };
enum class ExpertReplica : uint8_t { kNone, kRoundRobin, kNearest };
// How the rows of Dispatch move: straight to every rank that needs them; once to every node, where
// one rank hands them on; or all of them to all ranks.
enum class ExpertAlgo : uint8_t { kDirect, kHier, kAllGather };

// Whether messages are read where they lie: where that can be; or not at all unless all of them
// can; or never.
enum class ZeroCopy : uint8_t { kAuto, kRequire, kForbid };

// Rows by expert, rather than one for a token.
constexpr bool is_by_expert(ExpertLayout layout) {
  return layout == ExpertLayout::kExpertMajor || layout == ExpertLayout::kExpertSlab;
}

// What a handle fixes, the same on all ranks.
struct ExpertShape {
  ExpertLayout layout = ExpertLayout::kFlat;
  ExpertCap cap = ExpertCap::kNone;
  ExpertKeep keep = ExpertKeep::kPosition;
  bool pad_to_capacity = false;
  uint32_t topk = 1;
  uint32_t alignment = 1;   // of zones, in rows: a power of two (kExpertMajor)
  uint32_t capacity = 0;    // assignments of an expert, or tokens at a rank (kRank)
  uint32_t zone_rows = 0;   // of a local expert in a slab, and where zones are padded to capacity
  uint32_t max_tokens = 0;  // of a rank
  uint64_t max_recv_rows = 0;  // 0: no bound
};

inline constexpr int32_t kNoExpert = -1;  // an assignment that does not travel

}  // namespace tutti
