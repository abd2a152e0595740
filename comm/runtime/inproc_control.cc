#include "comm/runtime/inproc_control.h"

#include <iterator>

namespace tutti {

InprocControl::InprocControl(std::shared_ptr<Board> board, int rank)
    : board_(std::move(board)), rank_(rank) {
  board_->set_present(rank);
}

InprocControl::~InprocControl() { board_->set_left(rank_, "it destroyed its communicator"); }

void InprocControl::fail(Code code, const std::string& text) {
  (void)board_->fail({rank_, code, text});
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
