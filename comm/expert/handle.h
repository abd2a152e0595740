// ExpertHandle: one routing of a group: what was asked for, and, after Prepare, what goes where.
//
// Its tables are one block of memory, enough for any placement of the group's experts. Prepare
// writes them; afterwards they do not change. Threads: as the group's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "comm/expert/arrivals.h"
#include "comm/expert/entries.h"
#include "comm/expert/group.h"
#include "comm/expert/row_layout.h"
#include "comm/expert/types.h"

namespace tutti {

class ExpertHandle {
 public:
  static size_t memory_bytes(const ExpertGroup& group, const ExpertShape& shape);
  // `memory`: memory_bytes() of the caller's, or null. Throws std::bad_alloc.
  ExpertHandle(ExpertGroup& group, const ExpertShape& shape, void* memory);
  ~ExpertHandle() { group_.remove(this); }
  ExpertHandle(const ExpertHandle&) = delete;
  ExpertHandle& operator=(const ExpertHandle&) = delete;

  ExpertGroup& group() { return group_; }
  const ExpertGroup& group_of() const { return group_; }
  const ExpertShape& shape() const { return shape_; }
  // No routing; tables as the group's placement wants them.
  void forget();

  // Written by Prepare.
  struct Tables {
    std::span<int32_t> experts;  // [maxT * K] of this rank's assignments; kNoExpert: do not travel
    std::span<float> weights;    // [maxT * K]
    std::span<uint32_t> tokens_to;     // [R] distinct tokens that go to each rank
    std::span<uint32_t> sent_to;       // [R] assignments
    std::span<uint32_t> wanted;        // [L] assignments of local experts before any were dropped
    std::span<float> arrival_weights;  // room for arrivals.weight
    Departures departures;
    Arrivals arrivals;
    Entries departure_entries;
    Entries arrival_entries;
    RowsOfArrivals rows;
  };
  Tables tables;
  uint32_t tokens = 0;  // T
  bool weighted = false;
  uint64_t dropped = 0;
  uint64_t rows_needed = 0;
  bool prepared = false;
  uint64_t mask_epoch = 0;  // of the group at the last Prepare
  uint64_t routing = 0;     // number of the last Prepare among the operations of the group

  // Operations that use the tables, queued ones included. Any thread.
  int busy() const { return busy_.load(std::memory_order_acquire); }
  // Of those, the ones that write them.
  int preparing() const { return preparing_.load(std::memory_order_acquire); }
  void begin_use(bool prepares) {
    busy_.fetch_add(1, std::memory_order_relaxed);
    if (prepares) preparing_.fetch_add(1, std::memory_order_relaxed);
    group_.begin_use();
  }
  void end_use(bool prepares) {
    group_.end_use();
    // release: what it has written; pairs with the acquire in preparing().
    if (prepares) preparing_.fetch_sub(1, std::memory_order_release);
    // release: our last use, after which another thread may destroy the handle; pairs with the
    // acquire in busy().
    busy_.fetch_sub(1, std::memory_order_release);
  }

 private:
  std::atomic<int> busy_{0};
  std::atomic<int> preparing_{0};
  ExpertGroup& group_;
  const ExpertShape shape_;
  std::unique_ptr<std::byte[]> own_memory_;
  void* memory_;
};

// What an operation has of a handle until its end. Thread: as the operation's.
class HandleUse {
 public:
  explicit HandleUse(ExpertHandle& handle, bool prepares = false)
      : handle_(&handle), prepares_(prepares) {
    handle.begin_use(prepares);
  }
  ~HandleUse() { end(); }
  HandleUse(const HandleUse&) = delete;
  HandleUse& operator=(const HandleUse&) = delete;
  void end() {
    if (handle_ != nullptr) std::exchange(handle_, nullptr)->end_use(prepares_);
  }

 private:
  ExpertHandle* handle_;
  const bool prepares_;
};

}  // namespace tutti
