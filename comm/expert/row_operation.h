// RowOperation: one dispatch or combine of a group: a schedule of rows built from a handle's
// routing when the operation begins, bound and run. Thread: the holder of the communicator's drive
// mutex.
#pragma once

#include <cstdint>
#include <string>

#include "comm/exec/execution.h"
#include "comm/expert/expert_schedule.h"
#include "comm/expert/handle.h"
#include "comm/runtime/operation.h"

namespace tutti {

// An array of rows of the caller's; no data: not given.
struct RowArray {
  void* data = nullptr;
  DataType dtype = DataType::kUint8;
  uint64_t rows = 0;  // it has room for, or holds
  size_t bytes = 0;   // of a row
  size_t stride = 0;
};

// `own`: what is wrong with the arguments of this rank; then only what `work` says of scales and
// values counts, for the others must not wait for this rank.
struct DispatchCall {
  Status own;
  ZeroCopy zero_copy = ZeroCopy::kAuto;
  DispatchWork work;
  RowQuant quant = RowQuant::kNone;
  RowArray in, in_scale, in_weight;
  RowArray out, out_scale, out_weight;
};

struct CombineCall {
  Status own;
  ZeroCopy zero_copy = ZeroCopy::kAuto;
  CombineWork work;
  DataType partial = DataType::kFloat32;
  RowArray in, in_weight, in_value;
  RowArray bias[2];
  RowArray out, out_value;
};

class RowOperation : public Operation {
 public:
  RowOperation(const RowOperation&) = delete;
  RowOperation& operator=(const RowOperation&) = delete;

  Status begin() override;
  Progress advance() override;
  Status failure() const override { return failure_; }
  Status health(int* peer) const override { return execution().health(peer); }
  int waiting_for() const override { return execution().waiting_for(); }
  int culprit() const override {
    return culprit_ >= 0 ? culprit_ : handle_.group().channels().failed_peer();
  }
  std::string describe() const override;
  Status outcome() const override { return outcome_; }
  void let_go() override;

 protected:
  // `name`: of static storage. The handle counts this operation as busy from now on.
  RowOperation(ExpertHandle& handle, const char* name, ZeroCopy zero_copy);

  ExpertHandle& handle() { return handle_; }
  const ExpertHandle& handle_of() const { return handle_; }
  Routed routed();
  // What is wrong with the arguments, now that the routing is known.
  virtual Status check() = 0;
  // `refused`: nothing will be computed.
  virtual void build(bool refused, Schedule* out) = 0;
  virtual RowLayout layout() = 0;
  virtual RunBuffers buffers() = 0;
  // Which messages there are, in a byte; and the rest of what must be the same on all ranks.
  virtual uint8_t traffic() const = 0;
  virtual uint64_t fingerprint_of_call() const = 0;
  virtual uint64_t bytes_written() const = 0;       // here, to tell whether they stay in the cache
  virtual void count(GroupStats* stats) const = 0;  // that it has succeeded

 private:
  Communicator& comm() const { return handle_.group().comm(); }
  const Execution& execution() const { return handle_.group().runner().execution; }
  Status bind(bool refused);
  Status heard() const;

  ExpertHandle& handle_;
  HandleUse use_;
  const char* const name_;
  const ZeroCopy zero_copy_;
  uint64_t sequence_ = 0;
  bool begun_ = false;  // there is something to run
  WaitClock waits_;
  int culprit_ = -1;
  Status failure_;
  Status outcome_;
};

class DispatchOperation final : public RowOperation {
 public:
  DispatchOperation(ExpertHandle& handle, const DispatchCall& call)
      : RowOperation(handle, "expert dispatch", call.zero_copy), call_(call) {}

 private:
  Status check() override;
  void build(bool refused, Schedule* out) override;
  RowLayout layout() override;
  RunBuffers buffers() override;
  uint8_t traffic() const override;
  uint64_t fingerprint_of_call() const override;
  uint64_t bytes_written() const override;
  void count(GroupStats* stats) const override;

  DispatchCall call_;
};

class CombineOperation final : public RowOperation {
 public:
  CombineOperation(ExpertHandle& handle, const CombineCall& call)
      : RowOperation(handle, "expert combine", call.zero_copy), call_(call) {}

 private:
  Status check() override;
  void build(bool refused, Schedule* out) override;
  RowLayout layout() override;
  RunBuffers buffers() override;
  uint8_t traffic() const override;
  uint64_t fingerprint_of_call() const override;
  uint64_t bytes_written() const override;
  void count(GroupStats* stats) const override;

  CombineCall call_;
};

}  // namespace tutti
