#include "comm/runtime/inproc_control.h"

#include <iterator>
#include <sched.h>

#include "comm/base/membarrier.h"

namespace tutti {

Board::Board(int nranks) : members_(static_cast<size_t>(nranks)) {}

InprocControl::InprocControl(std::shared_ptr<Board> board, int rank)
    : board_(std::move(board)), rank_(rank), barrier_(has_process_barrier()) {
  board_->members_[static_cast<size_t>(rank)].present.store(true, std::memory_order_release);
}

void InprocControl::publish(const CallRecord& r) {
  Board::Member& me = board_->members_[static_cast<size_t>(rank_)];
  Board::Entry& e = me.entries[r.sequence % Board::kRemembered];
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

std::optional<CallRecord> InprocControl::call_of(int rank, uint64_t sequence) const {
  const Board::Member& member = board_->members_[static_cast<size_t>(rank)];
  const Board::Entry& e = member.entries[sequence % Board::kRemembered];
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

std::optional<CallRecord> InprocControl::last_call_of(int rank) const {
  const uint64_t last =
      board_->members_[static_cast<size_t>(rank)].last.load(std::memory_order_acquire);
  return last == 0 ? std::nullopt : call_of(rank, last - 1);
}

void InprocControl::fail(Code code, const std::string& text) {
  MutexLock lock(board_->mutex_);
  if (board_->failure_.has_value()) return;
  board_->failure_ = Failure{rank_, code, text};
  // release: pairs with the acquire in failed().
  board_->failed_.store(true, std::memory_order_release);
}

// "inside" and "failed" are each written by one side and read by the other: at least one of them
// sees the other's store, thanks to the barrier in wait_for_kernels(), or to seq_cst without it.
bool InprocControl::enter() {
  std::atomic<bool>& inside = board_->members_[static_cast<size_t>(rank_)].inside;
  inside.store(true, barrier_ ? std::memory_order_release : std::memory_order_seq_cst);
  if (!failed()) return true;
  leave();
  return false;
}

void InprocControl::leave() {
  // release: all accesses of the kernel; pairs with the acquire in wait_for_kernels().
  board_->members_[static_cast<size_t>(rank_)].inside.store(false, std::memory_order_release);
}

void InprocControl::wait_for_kernels() {
  process_barrier();
  for (size_t r = 0; r < board_->members_.size(); ++r) {
    if (static_cast<int>(r) == rank_) continue;
    // A kernel is running and waits for nobody, so this ends by itself.
    while (board_->members_[r].inside.load(std::memory_order_acquire)) sched_yield();
  }
}

std::optional<Failure> InprocControl::failure() const {
  MutexLock lock(board_->mutex_);
  return board_->failure_;
}

// release: everything this rank has posted; pairs with the acquires in left().
InprocControl::~InprocControl() {
  board_->members_[static_cast<size_t>(rank_)].left.store(true, std::memory_order_release);
  board_->any_left_.store(true, std::memory_order_release);
}

bool InprocControl::left(int rank) const {
  if (rank < 0) return board_->any_left_.load(std::memory_order_acquire);
  return board_->members_[static_cast<size_t>(rank)].left.load(std::memory_order_acquire);
}

bool InprocControl::present(int rank) const {
  return board_->members_[static_cast<size_t>(rank)].present.load(std::memory_order_acquire);
}

std::shared_ptr<Board> Meetings::join(uint64_t id, int nranks, bool all_come) {
  MutexLock lock(mutex_);
  for (auto it = boards_.begin(); it != boards_.end();) {
    it = it->second.expired() ? boards_.erase(it) : std::next(it);
  }
  std::shared_ptr<Board> board = boards_[id].lock();
  if (!board) {
    board = std::make_shared<Board>(nranks);
    boards_[id] = board;
  }
  if (all_come) {
    const auto [entry, first] = waiting_.try_emplace(id, board, nranks);
    if (--entry->second.second == 0) waiting_.erase(entry);
  }
  return board;
}

}  // namespace tutti
