#include "comm/runtime/inproc_control.h"

#include <iterator>
#include <sched.h>

#include "comm/base/membarrier.h"

namespace tutti {

InprocControl::InprocControl(std::shared_ptr<Board> board, int rank)
    : board_(std::move(board)), rank_(rank), barrier_(has_process_barrier()) {
  board_->set_present(rank);
}

InprocControl::~InprocControl() { board_->set_left(rank_, "it destroyed its communicator"); }

void InprocControl::fail(Code code, const std::string& text) {
  (void)board_->fail({rank_, code, text});
}

// "inside" and "failed" are each written by one side and read by the other: at least one of them
// sees the other's store, thanks to the barrier in wait_for_kernels(), or to seq_cst without it.
bool InprocControl::enter() {
  std::atomic<bool>& inside = board_->inside(rank_);
  inside.store(true, barrier_ ? std::memory_order_release : std::memory_order_seq_cst);
  if (!failed()) return true;
  leave();
  return false;
}

void InprocControl::leave() {
  // release: all accesses of the kernel; pairs with the acquire in wait_for_kernels().
  board_->inside(rank_).store(false, std::memory_order_release);
}

void InprocControl::wait_for_kernels() {
  process_barrier();
  for (int r = 0; r < board_->nranks(); ++r) {
    if (r == rank_) continue;
    // A kernel is running and waits for nobody, so this ends by itself.
    while (board_->inside(r).load(std::memory_order_acquire)) sched_yield();
  }
}

bool InprocControl::left(int rank) const {
  return rank < 0 ? board_->any_left() : board_->left_at(rank) != 0;
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
