// ExpertMasks: the ranks of a group that nothing goes to and nothing comes from.
//
// Any rank may propose one. In the next Prepare all ranks hear of it, and from then on it is masked
// on all of them alike, until all readmit it. Each change that all have agreed on begins an epoch.
// Threads: any.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/expert/agreement.h"

namespace tutti {

class ExpertMasks {
 public:
  explicit ExpertMasks(int nranks)
      : agreed_(static_cast<size_t>(nranks)), proposed_(static_cast<size_t>(nranks)) {}

  struct View {
    std::vector<uint8_t> masked;  // by rank; empty for none
    uint64_t epoch = 0;
  };
  View agreed() const;
  // And what this rank has proposed.
  View proposed() const;
  // For the next Prepare, or not any more: kInvalidUsage where all have agreed already.
  Status propose(int rank, bool masked);
  // What the ranks have said in Prepare. True where that is new.
  bool agree(const AllCounts& all);
  // On all ranks alike.
  void readmit(int rank);

 private:
  mutable Mutex mutex_;
  std::vector<uint8_t> agreed_ TUTTI_GUARDED_BY(mutex_);
  std::vector<uint8_t> proposed_ TUTTI_GUARDED_BY(mutex_);  // and not agreed on
  size_t num_agreed_ TUTTI_GUARDED_BY(mutex_) = 0;
  size_t num_proposed_ TUTTI_GUARDED_BY(mutex_) = 0;
  uint64_t epoch_ TUTTI_GUARDED_BY(mutex_) = 0;
};

}  // namespace tutti
