#include "comm/expert/row_operation.h"

#include <algorithm>

#include "comm/base/hash.h"
#include "comm/expert/zero_copy.h"

namespace tutti {

RowOperation::RowOperation(ExpertHandle& handle, const char* name, ZeroCopy zero_copy)
    : handle_(handle), use_(handle), name_(name), zero_copy_(zero_copy) {}

std::string RowOperation::describe() const {
  return std::string(name_) + " of " + std::to_string(handle_.tokens) + " tokens (call " +
         std::to_string(sequence_) + " of its group)";
}

Routed RowOperation::routed() {
  const ExpertHandle::Tables& t = handle_.tables;
  Routed r;
  r.rank = comm().rank();
  r.nranks = comm().nranks();
  r.shape = &handle_.shape();
  r.tokens = handle_.tokens;
  r.weights = t.weights;
  r.departures = &t.departures;
  r.arrivals = &t.arrivals;
  r.rows = &t.rows;
  r.ranks_per_node = handle_.group().placement().ranks_per_node();
  r.departure_entries = &t.departure_entries;
  r.arrival_entries = &t.arrival_entries;
  return r;
}

namespace {

// Of an operation that this rank refuses: rows of one number, which fit every program.
RowLayout layout_of_nothing(const Schedule& schedule) {
  RowLayout l;
  l.quant = RowQuant::kInt8Token;
  for (RowFormat& format : l.formats) format = {sizeof(float), sizeof(float), DataType::kFloat32};
  for (const RowProgram& program : schedule.rows.programs) {
    if (program.kernel != RowKernel::kQuantise) continue;
    l[Buffer::kOutput] = {1, 1, DataType::kUint8};
    l[Buffer::kScratch] = {1, 1, DataType::kUint8};
  }
  return l;
}

}  // namespace

Status RowOperation::bind(bool refused) {
  ExpertGroup::Runner& runner = handle_.group().runner();
  build(refused, &runner.schedule);
  return runner.plan.bind_rows(runner.schedule,
                               refused ? layout_of_nothing(runner.schedule) : layout(),
                               handle_.group().channels());
}

Status RowOperation::begin() {
  ExpertGroup::Runner& runner = handle_.group().runner();
  sequence_ = handle_.group().next_sequence();
  if (!handle_.prepared) {
    culprit_ = comm().rank();
    outcome_ = error(Code::kInvalidUsage, "%s: %s: the handle has no routing: Prepare first",
                     comm().who().c_str(), name_);
    return Status();
  }
  outcome_ = check();
  if (outcome_.ok()) {
    TUTTI_TRY(bind(false));
    if (zero_copy_ == ZeroCopy::kRequire) {
      outcome_ = check_zero_copy(runner.plan, buffers(), comm(), name_);
    }
  }
  const bool refused = !outcome_.ok();
  if (refused) {
    culprit_ = comm().rank();
    TUTTI_TRY(bind(true));
  }
  apply_zero_copy(zero_copy_, &runner.plan);
  Arithmetic how;
  // Beyond the cache nobody will find the rows there.
  if (bytes_written() * static_cast<uint64_t>(comm().nranks()) > comm().parts().cache_bytes) {
    how.stores = Stores::kStreaming;
  }
  // As Execution::refuse() wants it. The messages follow from the routing, too: handles have no
  // names that all ranks know.
  const uint64_t messages = uint64_t{traffic()} << 24 | (handle_.routing & 0xffffff);
  const uint64_t fingerprint = messages << 32 | fingerprint_of_call() >> 33;
  runner.execution.start(&runner.plan, refused ? RunBuffers() : buffers(),
                         comm().header(sequence_, fingerprint), how, &comm().device(),
                         &comm().gate());
  if (refused) runner.execution.refuse();
  begun_ = true;
  return Status();
}

// What peers have said of their part.
Status RowOperation::heard() const {
  const Execution::Refusal& refusal = execution().refusal();
  switch (refusal.kind) {
    case Execution::Refusal::Kind::kNone:
      return Status();
    case Execution::Refusal::Kind::kThere:
      return error(Code::kRemoteError, "%s: %s: rank %d, or one that it waits for, has refused it",
                   comm().who().c_str(), describe().c_str(), refusal.peer);
    case Execution::Refusal::Kind::kDiffers:
      return error(Code::kInvalidArgument,
                   "%s: %s: expected the same types and sizes on all ranks, rank %d has others",
                   comm().who().c_str(), describe().c_str(), refusal.peer);
  }
  return Status();
}

void RowOperation::let_go() {
  GroupStats& stats = handle_.group().stats();
  waits_.stop(&stats);
  if (begun && result.code() == Code::kTimeout) ++stats.timeouts;
  if (ticket && !outcome_.ok()) handle_.group().failures().note({outcome_.code(), culprit_});
  if (begun_ && result.ok()) {
    const ExpertGroup::Runner& runner = handle_.group().runner();
    stats.sent.add(traffic_of(runner.plan, handle_.group().placement(), comm().rank()));
    stats.staged_bytes += runner.execution.staged_bytes();
    count(&stats);
  }
  use_.end();
}

Operation::Progress RowOperation::advance() {
  if (!begun_) return Progress::kDone;
  Execution& execution = handle_.group().runner().execution;
  GroupStats& stats = handle_.group().stats();
  const uint64_t before = execution.steps_run();
  waits_.before(execution, &stats);
  const Execution::State state = execution.advance();
  waits_.after(execution, state == Execution::State::kBlocked, &stats);
  comm().count_steps(execution.steps_run() - before);
  switch (state) {
    case Execution::State::kDone:
      if (outcome_.ok()) {
        outcome_ = heard();
        culprit_ = execution.refusal().peer;
      }
      return Progress::kDone;
    case Execution::State::kBlocked:
      return Progress::kBlocked;
    case Execution::State::kMismatch:
      culprit_ = execution.surprise().peer;
      failure_ = error(Code::kMismatch,
                       "%s: expected %s on all ranks, with the same routing; rank %d called "
                       "something else",
                       comm().who().c_str(), describe().c_str(), execution.surprise().peer);
      return Progress::kFailed;
    case Execution::State::kFailed:
      failure_ = execution.failure();
      return Progress::kFailed;
  }
  return Progress::kFailed;
}

namespace {

RowFormat format_of(const RowArray& array) { return {array.bytes, array.stride, array.dtype}; }

constexpr RowFormat kOneValue = {sizeof(float), sizeof(float), DataType::kFloat32};

// `what` of the call that is wrong, in rows.
Status too_short(const char* name, const char* what, uint64_t expected, uint64_t got) {
  return error(Code::kInvalidArgument, "%s: %s: expected at least %llu rows, got %llu", name, what,
               static_cast<unsigned long long>(expected), static_cast<unsigned long long>(got));
}

struct Needed {
  const char* what;
  const RowArray* array;
  uint64_t rows;
};

Status check_rows(const char* name, std::initializer_list<Needed> all) {
  for (const Needed& one : all) {
    if (one.array->data == nullptr && one.array->bytes == 0) continue;  // not given
    if (one.array->rows < one.rows) return too_short(name, one.what, one.rows, one.array->rows);
  }
  return Status();
}

// Numbers of row_weight and row_value: one a row, or K.
uint64_t values_of_rows(const ExpertHandle& handle) {
  const uint64_t rows = handle.tables.rows.num_rows;
  return is_by_expert(handle.shape().layout) ? rows : rows * handle.shape().topk;
}

}  // namespace

// --- dispatch ---

Status DispatchOperation::check() {
  TUTTI_TRY(call_.own);
  const uint64_t tokens = handle().tokens;
  const uint64_t rows = handle().tables.rows.num_rows;
  const uint64_t values = tokens * handle().shape().topk;
  TUTTI_TRY(check_rows("tuttiEpDispatch",
                       {{"in.x", &call_.in, tokens},
                        {"in.scale", &call_.in_scale, tokens},
                        {"in.weight", &call_.in_weight, values},
                        {"out.x", &call_.out, rows},
                        {"out.scale", &call_.out_scale, rows},
                        {"out.row_weight", &call_.out_weight, values_of_rows(handle())}}));
  if (!call_.work.weighted || handle().weighted) return Status();
  return error(Code::kInvalidUsage,
               "tuttiEpDispatch: TUTTI_EP_WEIGHT_APPLY: expected weights given to Prepare");
}

void DispatchOperation::build(bool refused, Schedule* out) {
  if (refused) call_.work.weighted = false;
  call_.work.slice = handle().group().slice();
  call_.work.algo = handle().group().config().algo;
  build_dispatch(routed(), call_.work, out);
}

RowLayout DispatchOperation::layout() {
  RowLayout l;
  l.quant = call_.quant;
  l[Buffer::kInput] = format_of(call_.in);
  l[Buffer::kOutput] = format_of(call_.out);
  l[Buffer::kInputSide] = format_of(call_.in_scale);
  l[Buffer::kOutputSide] = format_of(call_.out_scale);
  l[Buffer::kScratch] = {call_.out.bytes, call_.out.bytes, call_.out.dtype};
  l[Buffer::kScratchSide] = {call_.out_scale.bytes, call_.out_scale.bytes, call_.out_scale.dtype};
  l[Buffer::kInputValue] = kOneValue;
  l[Buffer::kOutputValue] = kOneValue;
  l[Buffer::kScratchValue] = kOneValue;
  return l;
}

RunBuffers DispatchOperation::buffers() {
  const ExpertGroup::ScratchMemory& scratch = handle().group().scratch();
  RunBuffers b;
  b.input = call_.in.data;
  b.output = call_.out.data;
  b.input_side = call_.in_scale.data;
  b.output_side = call_.out_scale.data;
  b.input_value = call_.in_weight.data;
  b.output_value = call_.out_weight.data;
  b.scratch = scratch.rows;
  // Behind the quantised rows of all tokens.
  const size_t values = size_t{handle().shape().max_tokens} * call_.out.bytes;
  b.scratch_side = scratch.rows + (values + 63) / 64 * 64;
  b.scratch_value = scratch.values;
  return b;
}

uint8_t DispatchOperation::traffic() const {
  return static_cast<uint8_t>(1 | call_.work.scales << 1 | call_.work.values << 2);
}

uint64_t DispatchOperation::fingerprint_of_call() const {
  uint64_t hash =
      hash_combine(static_cast<uint64_t>(call_.quant), static_cast<uint64_t>(call_.work.weighted));
  hash = hash_combine(hash, static_cast<uint64_t>(call_.in.dtype));
  return hash_combine(hash_combine(hash, call_.in.bytes), call_.in_scale.bytes);
}

uint64_t DispatchOperation::bytes_written() const {
  return call_.out.bytes * handle_of().tables.rows.num_rows;
}

void DispatchOperation::count(GroupStats* stats) const {
  ++stats->dispatches;
  const std::span<const uint32_t> rows = handle_of().tables.rows.count;
  for (size_t i = 0; i < rows.size(); ++i) stats->expert_rows[i] += rows[i];
}

// --- combine ---

Status CombineOperation::check() {
  TUTTI_TRY(call_.own);
  const uint64_t tokens = handle().tokens;
  const uint64_t rows = handle().tables.rows.num_rows;
  const uint64_t values = tokens * handle().shape().topk;
  TUTTI_TRY(
      check_rows("tuttiEpCombine", {{"in.x", &call_.in, rows},
                                    {"in.weight", &call_.in_weight, values},
                                    {"in.row_value", &call_.in_value, values_of_rows(handle())},
                                    {"in.bias[0]", &call_.bias[0], tokens},
                                    {"in.bias[1]", &call_.bias[1], tokens},
                                    {"out.x", &call_.out, tokens},
                                    {"out.slot_value", &call_.out_value, values}}));
  const bool slot = call_.work.reduce == ExpertReduce::kSlot;
  const bool known = handle().weighted || (slot && call_.in_weight.data != nullptr);
  if (!call_.work.weighted || known) return Status();
  return error(Code::kInvalidUsage,
               "tuttiEpCombine: TUTTI_EP_WEIGHT_APPLY: expected weights given to Prepare%s",
               slot ? ", or in.weight" : "");
}

void CombineOperation::build(bool refused, Schedule* out) {
  if (refused) call_.work.weighted = false;
  Routed r = routed();
  call_.work.slice = handle().group().slice();
  if (call_.work.reduce == ExpertReduce::kSlot) {
    // As many rows as a slice has: those of a token travel one by one.
    call_.work.slice = std::max<uint32_t>(1, call_.work.slice / handle().shape().topk);
    if (call_.in_weight.data != nullptr) {
      r.weights = {static_cast<const float*>(call_.in_weight.data),
                   size_t{r.tokens} * handle().shape().topk};
    }
  }
  build_combine(r, call_.work, out);
}

RowLayout CombineOperation::layout() {
  // What travels: rows as they are, or sums of them.
  const bool plain = call_.work.reduce == ExpertReduce::kSlot ||
                     (!is_by_expert(handle().shape().layout) && call_.work.same_type);
  const DataType travels = plain ? call_.in.dtype : call_.partial;
  const size_t bytes = call_.in.bytes / size_of(call_.in.dtype) * size_of(travels);
  RowLayout l;
  l[Buffer::kInput] = format_of(call_.in);
  l[Buffer::kOutput] = format_of(call_.out);
  l[Buffer::kBias0] = format_of(call_.bias[0]);
  l[Buffer::kBias1] = format_of(call_.bias[1]);
  l[Buffer::kScratch] = {bytes, bytes, travels};
  l[Buffer::kInputValue] = kOneValue;
  l[Buffer::kOutputValue] = kOneValue;
  l[Buffer::kScratchValue] = kOneValue;
  return l;
}

RunBuffers CombineOperation::buffers() {
  const ExpertGroup::ScratchMemory& scratch = handle().group().scratch();
  RunBuffers b;
  b.input = call_.in.data;
  b.output = call_.out.data;
  b.bias0 = call_.bias[0].data;
  b.bias1 = call_.bias[1].data;
  b.input_value = call_.in_value.data;
  b.output_value = call_.out_value.data;
  b.scratch = scratch.rows;
  b.scratch_value = scratch.values;
  return b;
}

uint8_t CombineOperation::traffic() const {
  const bool slot = call_.work.reduce == ExpertReduce::kSlot;
  const bool node = call_.work.reduce == ExpertReduce::kNode;
  return static_cast<uint8_t>(slot << 1 | call_.work.values << 2 | node << 3);
}

uint64_t CombineOperation::fingerprint_of_call() const {
  uint64_t hash = hash_combine(static_cast<uint64_t>(call_.partial),
                               static_cast<uint64_t>(call_.work.weighted));
  hash = hash_combine(hash, static_cast<uint64_t>(call_.in.dtype));
  return hash_combine(hash, call_.in.bytes);
}

uint64_t CombineOperation::bytes_written() const {
  return call_.in.bytes * handle_of().tables.rows.num_rows;
}

void CombineOperation::count(GroupStats* stats) const { ++stats->combines; }

}  // namespace tutti
