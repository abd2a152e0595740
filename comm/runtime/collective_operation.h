// CollectiveOperation: one collective call of one rank, run through the executor.
#pragma once

#include <memory>
#include <string>

#include "comm/exec/execution.h"
#include "comm/runtime/operation.h"
#include "comm/runtime/plans.h"

namespace tutti {

class Communicator;

class CollectiveOperation final : public Operation {
 public:
  // `bound` was found for `call` and counts this operation among its holders from now on.
  CollectiveOperation(Communicator& comm, CollectiveCall&& call, BoundCall* bound);
  ~CollectiveOperation() override;

  Status begin() override;
  Progress advance() override;
  Status failure() const override { return failure_; }
  Status health(int* peer) const override;
  int waiting_for() const override;
  std::string describe() const override;
  int64_t sequence() const override { return static_cast<int64_t>(sequence_); }
  void set_sequence(uint64_t number) override { sequence_ = number; }
  uint64_t fingerprint() const override { return bound_->record.fingerprint; }
  const CollectiveCall& call() const { return call_; }

 private:
  Status scale_input();
  CallRecord record() const;
  Communicator& comm_;
  CollectiveCall call_;
  BoundCall* bound_;
  uint64_t sequence_ = 0;
  Status failure_;
  std::unique_ptr<char[]> scaled_;  // the pre-multiplied input
};

}  // namespace tutti
