// Argument checks of the C API, in one place. Each failure names the function, the argument, what
// was expected and what was got.
#pragma once

#include <cstddef>
#include <span>

#include "comm/api/state.h"

namespace tutti {

// Checks arguments of one call on one communicator; keeps the first failure.
class Checker {
 public:
  Checker(const Entry& entry, const char* function) : entry_(entry), function_(function) {}

  Checker& dtype(tuttiDataType_t dtype, CollectiveCall* call);
  // Sets op, and the scalar of a created operator. After dtype().
  Checker& op(tuttiRedOp_t op, CollectiveCall* call);
  Checker& root(int root, CollectiveCall* call);
  Checker& peer(int peer, bool any_allowed);
  // `blocks` blocks of `count` elements fit the address space.
  Checker& size(const char* what, size_t count, size_t blocks, DataType dtype);
  Checker& buffer(const char* what, const void* buffer, size_t bytes);
  // Copies nranks counts and displacements into `blocks`; checks sums for overflow.
  Checker& blocks(const char* what, const size_t* counts, const size_t* displs, DataType dtype,
                  BlockList* blocks);
  Checker& disjoint(const char* what, const BlockList& blocks);
  Checker& equal(const char* what, size_t expected, size_t got);
  // The two byte ranges do not overlap, unless `in_place`.
  Checker& apart(const void* send, size_t send_bytes, const void* recv, size_t recv_bytes,
                 bool in_place);

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }

 private:
  void fail(Code code, const std::string& text);
  const Entry& entry_;
  const char* function_;
  Status status_;
};

// First element after the last one of any block.
size_t extent(const BlockList& blocks);

}  // namespace tutti
