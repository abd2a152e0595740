// Version, error texts, created operators.
#include <cstring>

#include "comm/api/state.h"
#include "comm/api/validate.h"

using tutti::Code;
using tutti::Entry;
using tutti::error;
using tutti::report;

tuttiResult_t tuttiGetVersion(int* version) {
  if (version == nullptr) {
    return report(error(Code::kInvalidArgument, "tuttiGetVersion: version is NULL"));
  }
  *version = TUTTI_VERSION_CODE;
  return tuttiSuccess;
}

const char* tuttiGetErrorString(tuttiResult_t result) {
  const auto value = static_cast<int64_t>(result);
  if (value < 0 || value >= tutti::kNumCodes) return "unknown result code";
  return tutti::code_name(static_cast<Code>(value));
}

const char* tuttiGetLastError(tuttiComm_t comm) {
  tutti::ThreadState& thread = tutti::thread_state();
  if (comm == nullptr || !tutti::check_handle(comm, "tuttiGetLastError").ok()) {
    return thread.last_error.c_str();
  }
  const uint32_t state = comm->state.load(std::memory_order_acquire);
  tutti::Status why;
  if (state == tuttiComm::kAlive) why = comm->comm->error();
  if (state == tuttiComm::kFailed) why = comm->creation_error;
  if (why.ok()) return thread.last_error.c_str();
  thread.comm_error = why.text();
  return thread.comm_error.c_str();
}

tuttiResult_t tuttiRedOpCreatePreMulSum(tuttiRedOp_t* op, const void* scalar, tuttiDataType_t dtype,
                                        tuttiComm_t comm) {
  const Entry entry(comm, "tuttiRedOpCreatePreMulSum");
  if (!entry.status().ok()) return report(entry.status());
  tutti::CollectiveCall call;
  tutti::Checker check(entry, "tuttiRedOpCreatePreMulSum");
  check.dtype(dtype, &call).buffer("op", op, sizeof(*op)).buffer("scalar", scalar, 1);
  if (!check.ok()) return report(check.status());
  if (!tutti::is_defined(call.dtype, tutti::ReduceOp::kPreMulSum)) {
    return report(error(Code::kUnsupported, "tuttiRedOpCreatePreMulSum: not defined for %s",
                        tutti::name_of(call.dtype)));
  }
  tuttiComm::Operator made{call.dtype, {}};
  std::memcpy(made.scalar.bytes, scalar, tutti::size_of(call.dtype));
  const auto id = static_cast<int>(tuttiNumOps + tutti::process()->next_number());
  entry.handle().operators[id] = made;
  *op = static_cast<tuttiRedOp_t>(id);
  return tuttiSuccess;
}

tuttiResult_t tuttiRedOpDestroy(tuttiRedOp_t op, tuttiComm_t comm) {
  const Entry entry(comm, "tuttiRedOpDestroy");
  if (!entry.status().ok()) return report(entry.status());
  if (entry.handle().operators.erase(static_cast<int>(op)) == 0) {
    return report(error(Code::kInvalidArgument,
                        "tuttiRedOpDestroy on %s: %d was not created on this communicator",
                        entry.comm().who().c_str(), static_cast<int>(op)));
  }
  return tuttiSuccess;
}
