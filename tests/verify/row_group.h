// RowGroup: schedules with rows of all ranks, with what they promise, to write by hand and to
// spoil.
#pragma once

#include <array>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "comm/schedule/row_builder.h"
#include "comm/schedule/text.h"
#include "comm/verify/row_contract.h"
#include "comm/verify/verify.h"

namespace tutti {

struct RowGroup {
  std::vector<Schedule> ranks;
  RowContract contract;
};

using RowsOf = std::map<Buffer, uint32_t>;
using WriteRows = std::function<void(RowBuilder& b, int rank)>;
using PromiseRow = std::function<RowPromise(RowExpressions& say, int rank, uint32_t row)>;

// `n` ranks with `rows` of every buffer, whose outputs hold what `promise` says; what lies in the
// output beside rows is promised by nobody.
inline RowGroup write_rows(int n, RowsOf rows, const WriteRows& write, PromiseRow promise) {
  RowGroup group;
  group.ranks.resize(static_cast<size_t>(n));
  for (int rank = 0; rank < n; ++rank) {
    RowBuilder b(n, rank, &group.ranks[static_cast<size_t>(rank)]);
    write(b, rank);
  }
  group.contract.num_rows = [rows = std::move(rows)](int, Buffer buffer) {
    const auto found = rows.find(buffer);
    return found == rows.end() ? 0 : found->second;
  };
  group.contract.promise = [promise = std::move(promise)](RowExpressions& say, int rank,
                                                          Buffer buffer, uint32_t row) {
    return buffer == Buffer::kOutput ? promise(say, rank, row) : RowPromise::anything();
  };
  return group;
}

inline std::optional<Defect> check(const RowGroup& group, uint32_t slots = 1, int rounds = 1) {
  const auto schedule_of = [&](int rank, Schedule* out) {
    *out = group.ranks[static_cast<size_t>(rank)];
  };
  return verify_rows(static_cast<int>(group.ranks.size()), schedule_of, group.contract,
                     {slots, rounds});
}

inline std::string text_of(const RowGroup& group) {
  std::string all;
  for (const Schedule& s : group.ranks) all += print(s);
  return all;
}

inline ::testing::AssertionResult passes(const RowGroup& group, uint32_t slots = 1) {
  for (const int rounds : {1, 2}) {
    const std::optional<Defect> found = check(group, slots, rounds);
    if (found) return ::testing::AssertionFailure() << describe(*found) << "\n" << text_of(group);
  }
  return ::testing::AssertionSuccess();
}

inline ::testing::AssertionResult fails(const RowGroup& group, Defect::Kind kind,
                                        uint32_t slots = 64) {
  const std::optional<Defect> found = check(group, slots);
  if (!found) {
    return ::testing::AssertionFailure() << "nothing found, wanted " << name_of(kind) << "\n"
                                         << text_of(group);
  }
  if (found->kind == kind) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "wanted " << name_of(kind) << ", found " << describe(*found);
}

// Three ranks with four tokens each; to which ranks each token goes.
inline constexpr int kRanks = 3;
inline constexpr uint32_t kTokens = 4;
inline const std::array<std::array<std::vector<int>, kTokens>, kRanks>& routing() {
  static const std::array<std::array<std::vector<int>, kTokens>, kRanks> to{{
      {{{0, 1}, {1, 2}, {2}, {}}},
      {{{0, 1, 2}, {2}, {0}, {1}}},
      {{{0}, {1}, {0, 2}, {1, 2}}},
  }};
  return to;
}

// The tokens of rank `from` that go to rank `to`.
inline std::vector<uint32_t> tokens(int from, int to) {
  std::vector<uint32_t> all;
  for (uint32_t t = 0; t < kTokens; ++t) {
    for (const int r : routing()[static_cast<size_t>(from)][t]) {
      if (r == to) all.push_back(t);
    }
  }
  return all;
}

// Every token to its ranks; outputs in the order of (source rank, token), two rows more than
// needed.
RowGroup dispatch();

// Partial sums: each rank weighs and adds its two rows for each of two tokens of every rank, and
// sends the sum; whoever owns the token adds the sums of the ranks in their order to its bias.
// Partial sums lie in a slot for each rank, used again for the second token; with `own_slots`, each
// has a slot of its own and all are sent before any is received.
RowGroup combine(bool own_slots = false);

// Rank 0 sends rows to rank 1, which keeps them and sends some of them on to rank 2.
RowGroup forward();

// Rank 0 sends its rows quantised, values and scales, to rank 1.
RowGroup quantised();

// One rank: a sum of two sums, in scratch on the way.
RowGroup nested();

}  // namespace tutti
