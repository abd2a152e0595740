// RowContract: what the caller of schedules with rows says about them: how many rows there are, and
// what the rows of the outputs must hold in the end. Collectives have contract.h instead; what
// dispatch and combine promise depends on the routing.
//
//   RowContract contract;
//   contract.num_rows = [&](int rank, Buffer buffer) { return ...; };
//   contract.promise = [&](RowExpressions& say, int rank, Buffer buffer, uint32_t row) {
//     if (row >= counts[rank]) return RowPromise::untouched();
//     return RowPromise::holds(say.row(source.rank, Buffer::kInput, source.token));
//   };
#pragma once

#include <functional>

#include "comm/verify/row_expressions.h"

namespace tutti {

struct RowPromise {
  enum class Kind : uint8_t { kAnything, kUntouched, kHolds } kind = Kind::kAnything;
  Value value;

  static RowPromise anything() { return {}; }
  static RowPromise untouched() { return {Kind::kUntouched, {}}; }  // nothing ever lands there
  static RowPromise holds(const Value& value) { return {Kind::kHolds, value}; }
};

struct RowContract {
  // Rows of every buffer of a rank, 0 where it has none; at least as many as its schedule names.
  // Empty: as many as it names.
  std::function<uint32_t(int rank, Buffer buffer)> num_rows;
  // For every row of the outputs of every rank, after the run. Empty: no promises.
  std::function<RowPromise(RowExpressions& say, int rank, Buffer buffer, uint32_t row)> promise;
};

}  // namespace tutti
