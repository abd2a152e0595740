#include "comm/runtime/collective_operation.h"

#include <algorithm>
#include <new>
#include <utility>

#include "comm/runtime/communicator.h"
#include "comm/schedule/contract.h"

namespace tutti {

CollectiveOperation::CollectiveOperation(Communicator& comm, CollectiveCall&& call,
                                         BoundCall* bound)
    : comm_(comm), call_(std::move(call)), bound_(bound) {
  ++bound_->holders;
}

CollectiveOperation::~CollectiveOperation() { comm_.plans().release(bound_); }

Status CollectiveOperation::begin() {
  Plan& plan = *bound_->plan;
  RunBuffers buffers{const_cast<void*>(call_.send), call_.recv, nullptr};
  if (plan.scratch_bytes() > 0) {
    Result<void*> scratch = comm_.scratch(plan.scratch_bytes());
    if (!scratch.ok()) return scratch.status();
    buffers.scratch = scratch.value();
  }
  if (call_.op == ReduceOp::kPreMulSum && is_reduction(call_.collective)) {
    TUTTI_TRY(scale_input());
    buffers.input = scaled_.get();
  }
  comm_.control().publish(record());
  comm_.execution().start(&plan, buffers, comm_.header(sequence_, fingerprint()), bound_->how,
                          &comm_.device(), &comm_.gate());
  return Status();
}

CallRecord CollectiveOperation::record() const {
  CallRecord record = bound_->record;
  record.sequence = sequence_;
  return record;
}

// The product is rounded to the type of the data, then summed like any other input.
Status CollectiveOperation::scale_input() {
  const size_t element = size_of(call_.dtype);
  const BlockList equal{input_blocks(call_.collective, comm_.nranks()), call_.count, {}, {}};
  const BlockList& blocks = call_.equal() ? equal : call_.blocks->input;
  size_t end = 0;
  for (uint32_t b = 0; b < blocks.num; ++b) end = std::max(end, blocks.start(b) + blocks.count(b));
  scaled_.reset(new (std::nothrow) char[std::max<size_t>(end * element, 1)]);
  if (!scaled_) {
    return error(Code::kOutOfMemory, "%s: no memory for %zu bytes of pre-multiplied input",
                 comm_.who().c_str(), end * element);
  }
  for (uint32_t b = 0; b < blocks.num; ++b) {
    const size_t at = blocks.start(b) * element;
    const void* source = static_cast<const char*>(call_.send) + at;
    void* target = scaled_.get() + at;
    const void* scalar = call_.scalar.bytes;
    const ReduceCall times{&source,         1,
                           &target,         1,
                           blocks.count(b), call_.dtype,
                           ReduceOp::kSum,  0,
                           Stores::kCached, static_cast<uint32_t>(comm_.config().threads)};
    TUTTI_TRY(comm_.device().reduce(times, nullptr, &scalar));
  }
  return Status();
}

Operation::Progress CollectiveOperation::advance() {
  switch (comm_.execution().advance()) {
    case Execution::State::kDone:
      return Progress::kDone;
    case Execution::State::kBlocked:
      return Progress::kBlocked;
    case Execution::State::kMismatch:
      failure_ = comm_.mismatch(*this, comm_.execution().surprise());
      return Progress::kFailed;
    case Execution::State::kFailed:
      failure_ = comm_.execution().failure();
      return Progress::kFailed;
  }
  return Progress::kFailed;
}

Status CollectiveOperation::health(int* peer) const { return comm_.execution().health(peer); }
int CollectiveOperation::waiting_for() const { return comm_.execution().waiting_for(); }

std::string CollectiveOperation::describe() const { return tutti::describe(record()); }

}  // namespace tutti
