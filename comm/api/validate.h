// Argument checks of the C API, in one place. Each failure names the function, the argument, what
// was expected and what was got.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "comm/api/state.h"
#include "comm/base/checked.h"

namespace tutti {

// Longer than any buffer can be (no processor gives a program 2^56 bytes of addresses): a count
// that asks for more is a mistake, even where it does not wrap.
inline constexpr size_t kMostBytes = (size_t{1} << 56) - 1;

// Checks arguments of one call on one communicator; keeps the first failure. What is right passes
// without a call; the texts are made elsewhere.
class Checker {
 public:
  Checker(const Entry& entry, const char* function) : entry_(entry), function_(function) {}

  Checker& dtype(tuttiDataType_t dtype, CollectiveCall* call) {
    if (static_cast<unsigned>(dtype) >= kNumDataTypes) {
      wrong_dtype(dtype);
    } else {
      call->dtype = static_cast<DataType>(dtype);
    }
    return *this;
  }
  // Sets op, and the scalar of a created operator. After dtype().
  Checker& op(tuttiRedOp_t op, CollectiveCall* call) {
    if (ok() && static_cast<unsigned>(op) < tuttiNumOps &&
        is_defined(call->dtype, static_cast<ReduceOp>(op))) {
      call->op = static_cast<ReduceOp>(op);
    } else {
      created_op(op, call);
    }
    return *this;
  }
  Checker& root(int root, CollectiveCall* call) {
    if (static_cast<unsigned>(root) >= static_cast<unsigned>(entry_.comm().nranks())) {
      not_a_rank("root", root, "");
    }
    call->root = root;
    return *this;
  }
  Checker& peer(int peer, bool any_allowed) {
    if (static_cast<unsigned>(peer) < static_cast<unsigned>(entry_.comm().nranks())) return *this;
    if (!any_allowed || peer != TUTTI_ANY_RANK) {
      not_a_rank("peer", peer, any_allowed ? " or TUTTI_ANY_RANK" : "");
    }
    return *this;
  }
  // `blocks` blocks of `count` elements fit the address space.
  Checker& size(const char* what, size_t count, size_t blocks, DataType dtype) {
    size_t elements = 0;
    size_t bytes = 0;
    if (!checked_mul(count, blocks, &elements) || !checked_mul(elements, size_of(dtype), &bytes) ||
        bytes > kMostBytes) {
      too_large(what, count, blocks, dtype);
    }
    return *this;
  }
  Checker& buffer(const char* what, const void* buffer, size_t bytes) {
    const auto at = reinterpret_cast<uintptr_t>(buffer);
    if (bytes != 0 && (at == 0 || at > UINTPTR_MAX - bytes)) no_buffer(what, buffer, bytes);
    return *this;
  }
  // Copies nranks counts and displacements into `blocks`; checks sums for overflow.
  Checker& blocks(const char* what, const size_t* counts, const size_t* displs, DataType dtype,
                  BlockList* blocks);
  Checker& disjoint(const char* what, const BlockList& blocks);
  Checker& equal(const char* what, size_t expected, size_t got);
  // The two byte ranges do not overlap, unless `in_place`.
  Checker& apart(const void* send, size_t send_bytes, const void* recv, size_t recv_bytes,
                 bool in_place) {
    const auto s = reinterpret_cast<uintptr_t>(send);
    const auto r = reinterpret_cast<uintptr_t>(recv);
    if (!in_place && send_bytes != 0 && recv_bytes != 0 && s < r + recv_bytes &&
        r < s + send_bytes) {
      overlapping(send_bytes, recv_bytes);
    }
    return *this;
  }

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }

 private:
  void fail(Code code, const std::string& text);
  [[gnu::cold]] void wrong_dtype(tuttiDataType_t dtype);
  // An operator of this communicator, or none.
  void created_op(tuttiRedOp_t op, CollectiveCall* call);
  [[gnu::cold]] void not_a_rank(const char* what, int got, const char* otherwise);
  [[gnu::cold]] void too_large(const char* what, size_t count, size_t blocks, DataType dtype);
  [[gnu::cold]] void no_buffer(const char* what, const void* buffer, size_t bytes);
  [[gnu::cold]] void overlapping(size_t send_bytes, size_t recv_bytes);
  const Entry& entry_;
  const char* function_;
  Status status_;
};

// First element after the last one of any block.
size_t extent(const BlockList& blocks);

}  // namespace tutti
