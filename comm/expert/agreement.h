// What the ranks of a group tell each other in Prepare, and the verdict that all of them reach from
// it: an all-gather of one ExpertCounts from every rank.
#pragma once

#include <cstdint>
#include <span>

#include "comm/base/status.h"
#include "comm/expert/placement.h"
#include "comm/expert/types.h"

namespace tutti {

// By rank; empty for none.
inline bool is_masked(std::span<const uint8_t> masked, int rank) {
  return !masked.empty() && masked[static_cast<size_t>(rank)] != 0;
}

// Plain data, moved as it is.
struct ExpertHeader {
  uint32_t code = 0;  // a Code: what this rank has found wrong with its own arguments
  uint32_t tokens = 0;
  uint32_t topk = 0;
  uint32_t alignment = 0;
  uint32_t capacity = 0;
  uint32_t max_tokens = 0;
  uint8_t layout = 0;
  uint8_t cap = 0;
  uint8_t keep = 0;
  uint8_t pad_to_capacity = 0;
  uint8_t weighted = 0;
  uint8_t reserved[3] = {};
  uint64_t most_rows = 0;  // that this rank has room for; UINT64_MAX: whatever comes
  uint64_t mask_epoch = 0;
  uint32_t zone_rows = 0;  // where the layout has such zones, else 0
  uint32_t reserved2 = 0;
};
static_assert(sizeof(ExpertHeader) == 56);

// One rank's piece: the header, assignments to each expert, distinct tokens to each rank, and which
// ranks it has masked. Views of memory of `bytes()`, 8-aligned.
class ExpertCounts {
 public:
  static size_t bytes(uint32_t num_experts, int nranks);
  ExpertCounts(std::byte* at, uint32_t num_experts, int nranks)
      : at_(at), num_experts_(num_experts), nranks_(static_cast<size_t>(nranks)) {}

  ExpertHeader& header() const { return *reinterpret_cast<ExpertHeader*>(at_); }
  std::span<uint32_t> assignments() const {
    return {reinterpret_cast<uint32_t*>(at_ + sizeof(ExpertHeader)), num_experts_};
  }
  std::span<uint32_t> tokens() const { return {assignments().data() + num_experts_, nranks_}; }
  std::span<uint8_t> masked() const {
    return {reinterpret_cast<uint8_t*>(tokens().data() + nranks_), nranks_};
  }

 private:
  std::byte* at_;
  size_t num_experts_;
  size_t nranks_;
};

// The pieces of all ranks, one after the other.
class AllCounts {
 public:
  AllCounts(std::byte* at, uint32_t num_experts, int nranks)
      : at_(at), num_experts_(num_experts), nranks_(nranks) {}
  int nranks() const { return nranks_; }
  ExpertCounts of(int rank) const {
    const size_t piece = ExpertCounts::bytes(num_experts_, nranks_);
    return {at_ + static_cast<size_t>(rank) * piece, num_experts_, nranks_};
  }
  // Assignments that `source` has at `rank`.
  uint64_t assignments(const Placement& placement, int source, int rank) const;

 private:
  std::byte* at_;
  uint32_t num_experts_;
  int nranks_;
};

ExpertHeader header_of(const ExpertShape& shape, uint32_t tokens, bool weighted, Code code);

// Rows that `rank` needs for its output, from what all ranks keep.
uint64_t rows_needed_at(const ExpertShape& shape, const Placement& placement, const AllCounts& all,
                        int rank);

// Whether every rank's own arguments were right and what the ranks called fits together. A rank's
// own fault: kRemoteError on the others (`own`: this rank's text for its own), and nothing else is
// said of a call that was not read to its end; what differs: kInvalidArgument on all ranks, naming
// rank and field. The faults and weights of masked ranks do not count (masks.h). `culprit`, when
// not ok: the rank that is named.
Status check_headers(const AllCounts& all, std::span<const uint8_t> masked, int rank,
                     const Status& own, int* culprit);
// Whether there are weights, for ranks without tokens, too.
bool is_weighted(const AllCounts& all, std::span<const uint8_t> masked, int rank);
// Whether every rank has room for what comes: kInvalidArgument on those that have not, kRemoteError
// on the others. Masked ranks receive nothing. The first rank in order counts, and oneself before
// that.
Status check_room(const ExpertShape& shape, const Placement& placement, const AllCounts& all,
                  std::span<const uint8_t> masked, int rank, int* culprit);

}  // namespace tutti
