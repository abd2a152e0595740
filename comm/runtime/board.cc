#include "comm/runtime/board.h"

#include "comm/base/clock.h"

namespace tutti {

Board::~Board() {
  for (Member& m : members_) delete[] m.entries.load(std::memory_order_relaxed);
}

void Board::record(int rank, const CallRecord& r) {
  Member& me = member(rank);
  Entry* entries = me.entries.load(std::memory_order_relaxed);  // only we write it
  if (entries == nullptr) {
    entries = new Entry[kRemembered];
    // Pairs with the acquire load in call_of().
    me.entries.store(entries, std::memory_order_release);
  }
  Entry& e = entries[r.sequence % kRemembered];
  // A reader that meets stamp 0, or another stamp at its second look, drops what it read. The
  // fields are stored with release so that none of them can be seen before the 0.
  e.stamp.store(0, std::memory_order_relaxed);
  e.fingerprint.store(r.fingerprint, std::memory_order_release);
  e.count.store(r.count, std::memory_order_release);
  e.what_root.store(uint64_t{r.what} << 32 | static_cast<uint32_t>(r.root),
                    std::memory_order_release);
  e.algorithm.store(r.algorithm, std::memory_order_release);
  e.stamp.store(r.sequence + 1, std::memory_order_release);
  me.last.store(r.sequence + 1, std::memory_order_release);
}

std::optional<CallRecord> Board::call_of(int rank, uint64_t sequence) const {
  const Entry* const entries = member(rank).entries.load(std::memory_order_acquire);
  if (entries == nullptr) return std::nullopt;
  const Entry& e = entries[sequence % kRemembered];
  if (e.stamp.load(std::memory_order_acquire) != sequence + 1) return std::nullopt;
  CallRecord r;
  r.sequence = sequence;
  r.fingerprint = e.fingerprint.load(std::memory_order_acquire);
  r.count = e.count.load(std::memory_order_acquire);
  const uint64_t what_root = e.what_root.load(std::memory_order_acquire);
  r.what = static_cast<uint32_t>(what_root >> 32);
  r.root = static_cast<int32_t>(what_root & 0xffffffffu);
  r.algorithm = e.algorithm.load(std::memory_order_acquire);
  if (e.stamp.load(std::memory_order_relaxed) != sequence + 1) return std::nullopt;
  return r;
}

std::optional<CallRecord> Board::last_call_of(int rank) const {
  const uint64_t last = member(rank).last.load(std::memory_order_acquire);
  return last == 0 ? std::nullopt : call_of(rank, last - 1);
}

// release: everything this rank has posted; pairs with the acquires in left_at() and any_left().
void Board::set_left(int rank, const std::string& why) {
  MutexLock lock(mutex_);
  if (left_at(rank) != 0) return;
  why_left_.emplace_back(rank, why);
  member(rank).left_at.store(now_ns(), std::memory_order_release);
  any_left_.store(true, std::memory_order_release);
}

std::string Board::why_left(int rank) const {
  MutexLock lock(mutex_);
  for (const auto& [who, why] : why_left_) {
    if (who == rank) return why;
  }
  return "";
}

bool Board::fail(const Failure& failure) {
  MutexLock lock(mutex_);
  if (failure_.has_value()) return false;
  failure_ = failure;
  // release: pairs with the acquire in failed().
  failed_.store(true, std::memory_order_release);
  return true;
}

std::optional<Failure> Board::failure() const {
  MutexLock lock(mutex_);
  return failure_;
}

}  // namespace tutti
