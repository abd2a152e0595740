#include "comm/api/validate.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

namespace tutti {

size_t extent(const BlockList& blocks) {
  size_t end = 0;
  for (uint32_t b = 0; b < blocks.num; ++b) {
    if (blocks.count(b) > 0) end = std::max(end, blocks.start(b) + blocks.count(b));
  }
  return end;
}

void Checker::fail(Code code, const std::string& text) {
  if (!status_.ok()) return;
  status_ = Status(code, std::string(function_) + " on " + entry_.comm().who() + ": " + text);
}

void Checker::wrong_dtype(tuttiDataType_t dtype) {
  fail(Code::kInvalidArgument, "dtype: expected 0.." + std::to_string(kNumDataTypes - 1) +
                                   ", got " + std::to_string(static_cast<int64_t>(dtype)));
}

void Checker::created_op(tuttiRedOp_t op, CollectiveCall* call) {
  if (!ok()) return;
  const auto value = static_cast<int64_t>(op);
  if (value >= 0 && value < tuttiNumOps) {
    return fail(Code::kUnsupported, std::string(name_of(static_cast<ReduceOp>(op))) +
                                        " is not defined for " + name_of(call->dtype));
  }
  const auto& operators = entry_.handle().operators;
  const auto found = operators.find(static_cast<int>(value));
  if (found == operators.end()) {
    return fail(Code::kInvalidArgument, "op: expected 0.." + std::to_string(tuttiNumOps - 1) +
                                            " or an operator created on this communicator, got " +
                                            std::to_string(value));
  }
  if (found->second.dtype != call->dtype) {
    return fail(Code::kInvalidArgument, std::string("op: the operator was created for ") +
                                            name_of(found->second.dtype) + ", the call has " +
                                            name_of(call->dtype));
  }
  call->op = ReduceOp::kPreMulSum;
  call->scalar = found->second.scalar;
}

void Checker::not_a_rank(const char* what, int got, const char* otherwise) {
  fail(Code::kInvalidArgument, std::string(what) + ": expected 0.." +
                                   std::to_string(entry_.comm().nranks() - 1) + otherwise +
                                   ", got " + std::to_string(got));
}

void Checker::too_large(const char* what, size_t count, size_t blocks, DataType dtype) {
  fail(Code::kInvalidArgument, std::string(what) + ": " + std::to_string(blocks) + " x " +
                                   std::to_string(count) + ' ' + name_of(dtype) +
                                   " do not fit the address space");
}

void Checker::no_buffer(const char* what, const void* buffer, size_t bytes) {
  const std::string text = std::string(what) + ": ";
  if (buffer == nullptr) {
    return fail(Code::kInvalidArgument,
                text + "expected " + std::to_string(bytes) + " bytes, got NULL");
  }
  fail(Code::kInvalidArgument,
       text + std::to_string(bytes) + " bytes pass the end of the address space");
}

void Checker::overlapping(size_t send_bytes, size_t recv_bytes) {
  fail(Code::kInvalidArgument, "sendbuff (" + std::to_string(send_bytes) +
                                   " bytes) and recvbuff (" + std::to_string(recv_bytes) +
                                   " bytes) overlap without being in place");
}

Checker& Checker::blocks(const char* what, const size_t* counts, const size_t* displs,
                         DataType dtype, BlockList* blocks) {
  if (!ok()) return *this;
  const auto n = static_cast<size_t>(entry_.comm().nranks());
  if (counts == nullptr || displs == nullptr) {
    fail(Code::kInvalidArgument, std::string(what) +
                                     ": counts and displacements: expected arrays of " +
                                     std::to_string(n) + ", got NULL");
    return *this;
  }
  blocks->num = static_cast<uint32_t>(n);
  blocks->counts.assign(counts, counts + n);
  blocks->displs.assign(displs, displs + n);
  for (size_t r = 0; r < n; ++r) {
    size_t end = 0;
    size_t bytes = 0;
    if (checked_add(counts[r], displs[r], &end) && checked_mul(end, size_of(dtype), &bytes) &&
        bytes <= kMostBytes) {
      continue;
    }
    fail(Code::kInvalidArgument, std::string(what) + ": block " + std::to_string(r) + " of " +
                                     std::to_string(counts[r]) + " elements at " +
                                     std::to_string(displs[r]) + " does not fit the address space");
  }
  return *this;
}

Checker& Checker::disjoint(const char* what, const BlockList& blocks) {
  if (!ok()) return *this;
  std::vector<uint32_t> order(blocks.num);
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return blocks.start(a) < blocks.start(b); });
  size_t end = 0;
  uint32_t before = 0;
  for (uint32_t b : order) {
    if (blocks.count(b) == 0) continue;
    if (blocks.start(b) < end) {
      fail(Code::kInvalidArgument, std::string(what) + ": blocks " + std::to_string(before) +
                                       " and " + std::to_string(b) + " overlap");
      return *this;
    }
    end = blocks.start(b) + blocks.count(b);
    before = b;
  }
  return *this;
}

Checker& Checker::equal(const char* what, size_t expected, size_t got) {
  if (expected != got) {
    fail(Code::kInvalidArgument, std::string(what) + ": expected " + std::to_string(expected) +
                                     ", got " + std::to_string(got));
  }
  return *this;
}

}  // namespace tutti
