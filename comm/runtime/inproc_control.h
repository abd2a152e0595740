// InprocControl: the control of ranks that are threads of one process: a table in memory.
//
// Board is the table, shared by the ranks of one communicator; Meetings finds the board of a
// communicator by its id, so that members can join in any order. Threads: any.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/runtime/control.h"

namespace tutti {

class Board {
 public:
  explicit Board(int nranks);

 private:
  friend class InprocControl;
  static constexpr uint64_t kRemembered = 32;
  // One announced call. The sequence is written last and read first and last (a seqlock): a reader
  // that sees it change in between drops what it read.
  struct Entry {
    std::atomic<uint64_t> stamp{0};  // sequence + 1; 0: never written
    std::atomic<uint64_t> fingerprint{0}, count{0}, what_root{0}, algorithm{0};
  };
  struct alignas(64) Member {
    std::atomic<bool> present{false};
    std::atomic<bool> left{false};
    std::atomic<bool> inside{false};  // a kernel runs; see enter()
    std::atomic<uint64_t> last{0};    // sequence + 1 of the latest entry
    Entry entries[kRemembered];
  };
  std::vector<Member> members_;
  std::atomic<bool> failed_{false};
  std::atomic<bool> any_left_{false};
  mutable Mutex mutex_;
  std::optional<Failure> failure_ TUTTI_GUARDED_BY(mutex_);
};

class InprocControl final : public Control {
 public:
  InprocControl(std::shared_ptr<Board> board, int rank);
  ~InprocControl() override;
  InprocControl(const InprocControl&) = delete;
  InprocControl& operator=(const InprocControl&) = delete;
  void publish(const CallRecord& record) override;
  std::optional<CallRecord> call_of(int rank, uint64_t sequence) const override;
  std::optional<CallRecord> last_call_of(int rank) const override;
  void fail(Code code, const std::string& text) override;
  bool failed() const override { return board_->failed_.load(std::memory_order_acquire); }
  std::optional<Failure> failure() const override;
  bool present(int rank) const override;
  bool left(int rank) const override;
  void wait_for_kernels() override;
  bool enter() override;
  void leave() override;

 private:
  std::shared_ptr<Board> board_;
  const int rank_;
  const bool barrier_;  // asymmetric barriers work here
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
