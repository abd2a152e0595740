// InprocControl: the control of ranks that are threads of one process: a table in memory.
//
// The board (board.h) is shared by the ranks of one communicator; Meetings finds the board of a
// communicator by its id, so that members can join in any order. Threads: any.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/runtime/board.h"
#include "comm/runtime/control.h"

namespace tutti {

class InprocControl final : public Control {
 public:
  InprocControl(std::shared_ptr<Board> board, int rank);
  ~InprocControl() override;
  InprocControl(const InprocControl&) = delete;
  InprocControl& operator=(const InprocControl&) = delete;
  void publish(const CallRecord& record) override { board_->record(rank_, record); }
  std::optional<CallRecord> call_of(int rank, uint64_t sequence) const override {
    return board_->call_of(rank, sequence);
  }
  std::optional<CallRecord> last_call_of(int rank) const override {
    return board_->last_call_of(rank);
  }
  void fail(Code code, const std::string& text) override;
  bool failed() const override { return board_->failed(); }
  std::optional<Failure> failure() const override { return board_->failure(); }
  bool present(int rank) const override { return board_->present(rank); }
  bool left(int rank) const override;
  std::string why_left(int rank) const override { return board_->why_left(rank); }

 private:
  std::shared_ptr<Board> board_;
  const int rank_;
};

class Meetings {
 public:
  // The board of communicator `id`, made by whoever asks first. It lives as long as a member holds
  // it; a second meeting under the same id starts only after the first has ended. `all_come`: every
  // member will join once, so the board waits for the last one, even if others have left by then.
  std::shared_ptr<Board> join(uint64_t id, int nranks, bool all_come);

 private:
  Mutex mutex_;
  std::map<uint64_t, std::weak_ptr<Board>> boards_ TUTTI_GUARDED_BY(mutex_);
  // Boards that wait, and how many members have yet to come.
  std::map<uint64_t, std::pair<std::shared_ptr<Board>, int>> waiting_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
