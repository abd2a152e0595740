// Group: the schedules of all ranks at once, to write by hand, to take from the catalogue and to
// spoil.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <optional>
#include <vector>

#include "comm/schedule/builder.h"
#include "comm/schedule/catalog.h"
#include "comm/schedule/text.h"
#include "comm/verify/verify.h"

namespace tutti {

using Group = std::vector<Schedule>;
inline constexpr uint32_t kPlenty = 64;  // slots that no test schedule runs out of

// One schedule per rank, written by `write` with that rank's parameters.
inline Group write_group(Params params, Collective collective, Shape shape,
                         const std::function<void(Builder& b, const Params& p)>& write) {
  Group group(static_cast<size_t>(params.nranks));
  for (int rank = 0; rank < params.nranks; ++rank) {
    params.rank = rank;
    Builder b(params, collective, shape, &group[static_cast<size_t>(rank)]);
    write(b, params);
  }
  return group;
}

inline Params ranks(int n, bool in_place = false) {
  Params p;
  p.nranks = n;
  p.in_place = in_place;
  return p;
}

inline Place in(uint32_t chunk, uint32_t n = 1) { return Builder::input(chunk, n); }
inline Place out(uint32_t chunk, uint32_t n = 1) { return Builder::output(chunk, n); }
inline Place scratch(uint32_t slot, const Place& like) { return Builder::scratch(slot, like); }

inline int next_of(const Params& p) { return (p.rank + 1) % p.nranks; }
inline int prev_of(const Params& p) { return (p.rank + p.nranks - 1) % p.nranks; }

// Two ranks swap their inputs and add: right, and the base of many wrong ones.
inline Group exchange(const std::function<void(Builder&, const Params&)>& finish,
                      bool in_place = false) {
  return write_group(ranks(2, in_place), Collective::kAllReduce, {1, 1, 1, 2},
                     [&](Builder& b, const Params& p) {
                       b.send(next_of(p), in(0));
                       b.recv(next_of(p), scratch(0, in(0)));
                       finish(b, p);
                     });
}

inline ScheduleOf schedules_of(const Group& group) {
  return [&group](int rank, Schedule* out) { *out = group[static_cast<size_t>(rank)]; };
}

inline std::optional<Defect> check(const Group& group, uint32_t slots = kPlenty, int rounds = 2) {
  return verify(static_cast<int>(group.size()), schedules_of(group), {slots, rounds});
}

inline ::testing::AssertionResult passes(const Group& group, uint32_t slots = kPlenty) {
  const std::optional<Defect> found = check(group, slots);
  if (!found) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << describe(*found);
}

inline ::testing::AssertionResult fails(const Group& group, Defect::Kind kind,
                                        uint32_t slots = kPlenty) {
  const std::optional<Defect> found = check(group, slots);
  if (!found) {
    std::string all;
    for (const Schedule& s : group) all += print(s);
    return ::testing::AssertionFailure() << "nothing found, wanted " << name_of(kind) << "\n"
                                         << all;
  }
  if (found->kind == kind) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "wanted " << name_of(kind) << ", found " << describe(*found);
}

}  // namespace tutti
