#include "comm/api/validate.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "comm/base/checked.h"

namespace tutti {

namespace {
// Longer than any buffer can be (no processor gives a program 2^56 bytes of addresses): a count
// that asks for more is a mistake, even where it does not wrap.
constexpr size_t kMostBytes = (size_t{1} << 56) - 1;
}  // namespace

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

Checker& Checker::dtype(tuttiDataType_t dtype, CollectiveCall* call) {
  const auto value = static_cast<int64_t>(dtype);
  if (value < 0 || value >= kNumDataTypes) {
    fail(Code::kInvalidArgument, "dtype: expected 0.." + std::to_string(kNumDataTypes - 1) +
                                     ", got " + std::to_string(value));
    return *this;
  }
  call->dtype = static_cast<DataType>(value);
  return *this;
}

Checker& Checker::op(tuttiRedOp_t op, CollectiveCall* call) {
  const auto value = static_cast<int64_t>(op);
  if (!ok()) return *this;
  if (value >= 0 && value < tuttiNumOps) {
    call->op = static_cast<ReduceOp>(value);
  } else {
    const auto& operators = entry_.handle().operators;
    const auto found = operators.find(static_cast<int>(value));
    if (found == operators.end()) {
      fail(Code::kInvalidArgument, "op: expected 0.." + std::to_string(tuttiNumOps - 1) +
                                       " or an operator created on this communicator, got " +
                                       std::to_string(value));
      return *this;
    }
    if (found->second.dtype != call->dtype) {
      fail(Code::kInvalidArgument, std::string("op: the operator was created for ") +
                                       name_of(found->second.dtype) + ", the call has " +
                                       name_of(call->dtype));
      return *this;
    }
    call->op = ReduceOp::kPreMulSum;
    call->scalar = found->second.scalar;
  }
  if (!is_defined(call->dtype, call->op)) {
    fail(Code::kUnsupported,
         std::string(name_of(call->op)) + " is not defined for " + name_of(call->dtype));
  }
  return *this;
}

Checker& Checker::root(int root, CollectiveCall* call) {
  if (root < 0 || root >= entry_.comm().nranks()) {
    fail(Code::kInvalidArgument, "root: expected 0.." + std::to_string(entry_.comm().nranks() - 1) +
                                     ", got " + std::to_string(root));
  }
  call->root = root;
  return *this;
}

Checker& Checker::peer(int peer, bool any_allowed) {
  if (any_allowed && peer == TUTTI_ANY_RANK) return *this;
  if (peer < 0 || peer >= entry_.comm().nranks()) {
    fail(Code::kInvalidArgument, "peer: expected 0.." + std::to_string(entry_.comm().nranks() - 1) +
                                     (any_allowed ? " or TUTTI_ANY_RANK" : "") + ", got " +
                                     std::to_string(peer));
  }
  return *this;
}

Checker& Checker::size(const char* what, size_t count, size_t blocks, DataType dtype) {
  size_t elements = 0;
  size_t bytes = 0;
  if (!checked_mul(count, blocks, &elements) || !checked_mul(elements, size_of(dtype), &bytes) ||
      bytes > kMostBytes) {
    fail(Code::kInvalidArgument, std::string(what) + ": " + std::to_string(blocks) + " x " +
                                     std::to_string(count) + ' ' + name_of(dtype) +
                                     " do not fit the address space");
  }
  return *this;
}

Checker& Checker::buffer(const char* what, const void* buffer, size_t bytes) {
  if (!ok() || bytes == 0) return *this;
  if (buffer == nullptr) {
    fail(Code::kInvalidArgument,
         std::string(what) + ": expected " + std::to_string(bytes) + " bytes, got NULL");
  } else if (reinterpret_cast<uintptr_t>(buffer) > UINTPTR_MAX - bytes) {
    fail(Code::kInvalidArgument, std::string(what) + ": " + std::to_string(bytes) +
                                     " bytes pass the end of the address space");
  }
  return *this;
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

Checker& Checker::apart(const void* send, size_t send_bytes, const void* recv, size_t recv_bytes,
                        bool in_place) {
  if (!ok() || in_place || send_bytes == 0 || recv_bytes == 0) return *this;
  const auto s = reinterpret_cast<uintptr_t>(send);
  const auto r = reinterpret_cast<uintptr_t>(recv);
  if (s < r + recv_bytes && r < s + send_bytes) {
    fail(Code::kInvalidArgument, "sendbuff (" + std::to_string(send_bytes) +
                                     " bytes) and recvbuff (" + std::to_string(recv_bytes) +
                                     " bytes) overlap without being in place");
  }
  return *this;
}

}  // namespace tutti
