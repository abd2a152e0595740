// Board: what is known of the ranks of one communicator beside their data: who is there, what each
// called last, who failed. Ranks of one process share one; a rank whose peers are other processes
// has its own, kept up to date by the control plane.
//
// Threads: any. record() for one rank: one thread at a time.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/base/status.h"
#include "comm/runtime/call.h"

namespace tutti {

struct Failure {
  int rank;
  Code code;
  std::string text;
};

class Board {
 public:
  static constexpr uint64_t kRemembered = 32;  // calls of each rank

  explicit Board(int nranks) : members_(static_cast<size_t>(nranks)) {}
  ~Board();
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  int nranks() const { return static_cast<int>(members_.size()); }

  // Notes that `rank` makes this call. No lock, and an allocation for the first only: it is on the
  // path of every call. Throws std::bad_alloc.
  void record(int rank, const CallRecord& call);
  std::optional<CallRecord> call_of(int rank, uint64_t sequence) const;
  std::optional<CallRecord> last_call_of(int rank) const;

  void set_present(int rank) { member(rank).present.store(true, std::memory_order_release); }
  bool present(int rank) const { return member(rank).present.load(std::memory_order_acquire); }

  // `rank` has ended its side: all it had posted is on its way. `why` completes "rank 1 has left:
  // ..."; the first one stands.
  void set_left(int rank, const std::string& why);
  // When (now_ns()), 0 while it is there.
  int64_t left_at(int rank) const { return member(rank).left_at.load(std::memory_order_acquire); }
  bool any_left() const { return any_left_.load(std::memory_order_acquire); }
  std::string why_left(int rank) const;

  // The first failure of a communicator counts. True when it was this one.
  bool fail(const Failure& failure);
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  std::optional<Failure> failure() const;

 private:
  // One announced call. The sequence is written last and read first and last (a seqlock): a reader
  // that sees it change in between drops what it read.
  struct Entry {
    std::atomic<uint64_t> stamp{0};  // sequence + 1; 0: never written
    std::atomic<uint64_t> fingerprint{0}, count{0}, what_root{0}, algorithm{0};
  };
  struct alignas(64) Member {
    std::atomic<bool> present{false};
    std::atomic<int64_t> left_at{0};
    std::atomic<uint64_t> last{0};  // sequence + 1 of the latest entry
    // kRemembered of them, once there is one: of most ranks nobody here ever hears a call.
    std::atomic<Entry*> entries{nullptr};
  };
  Member& member(int rank) { return members_[static_cast<size_t>(rank)]; }
  const Member& member(int rank) const { return members_[static_cast<size_t>(rank)]; }

  std::vector<Member> members_;
  std::atomic<bool> failed_{false};
  std::atomic<bool> any_left_{false};
  mutable Mutex mutex_;
  std::optional<Failure> failure_ TUTTI_GUARDED_BY(mutex_);
  std::vector<std::pair<int, std::string>> why_left_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
