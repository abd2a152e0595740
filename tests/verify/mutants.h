// Mutants: catalogued schedules spoiled in one place, for the tests that the verifier finds each.
#pragma once

#include <gtest/gtest.h>
#include <set>
#include <string>
#include <vector>

#include "tests/verify/group.h"

namespace tutti {

using Kinds = std::set<Defect::Kind>;

enum class Form { kPlain, kExecuted };

struct Source {
  const Algorithm* algorithm;
  int nranks;
  bool in_place;
  Form form;
};

inline Group make(const Source& source) {
  Group group(static_cast<size_t>(source.nranks));
  Params p;
  p.nranks = source.nranks;
  p.root = source.nranks / 2;
  p.in_place = source.in_place;
  for (p.rank = 0; p.rank < p.nranks; ++p.rank) {
    Schedule* out = &group[static_cast<size_t>(p.rank)];
    source.form == Form::kPlain ? source.algorithm->build(p, out)
                                : make_schedule(*source.algorithm, p, out);
  }
  return group;
}

inline std::vector<Source> sources(Form form, const std::vector<int>& counts = {2, 3, 5, 8}) {
  std::vector<Source> all;
  for (const Algorithm& a : catalog()) {
    for (const int n : counts) {
      for (const bool in_place : {false, true}) {
        if (in_place && a.collective == Collective::kBarrier) continue;
        all.push_back({&a, n, in_place, form});
      }
    }
  }
  return all;
}

// Counts the mutants of a test and checks each.
class Mutants {
 public:
  void expect_caught(const Source& source, const Group& group, const std::string& what,
                     const Kinds& kinds, uint32_t slots = kPlenty) {
    ++count_;
    const std::optional<Defect> found = check(group, slots);
    const std::string name = std::string(name_of(source.algorithm->collective)) + " " +
                             source.algorithm->name + " n " + std::to_string(source.nranks) +
                             (source.in_place ? " in place: " : ": ") + what;
    if (!found) {
      ADD_FAILURE() << name << " was not caught";
    } else {
      EXPECT_TRUE(kinds.count(found->kind) == 1) << name << " was taken for " << describe(*found);
    }
  }
  size_t count() const { return count_; }

 private:
  size_t count_ = 0;
};

// Calls visit(rank, lane, step) for every step.
template <typename Visit>
void for_each_step(const Group& group, Visit visit) {
  for (size_t r = 0; r < group.size(); ++r) {
    for (size_t l = 0; l < group[r].lanes.size(); ++l) {
      for (size_t i = 0; i < group[r].lanes[l].steps.size(); ++i) visit(r, l, i);
    }
  }
}

inline std::string where(const Group& group, size_t rank, size_t lane, size_t step) {
  return "rank " + std::to_string(rank) + " step " + std::to_string(step) + " " +
         print_step(group[rank], group[rank].lanes[lane].steps[step]);
}

inline void drop_step(Schedule& s, size_t lane, size_t step) {
  auto& steps = s.lanes[lane].steps;
  steps.erase(steps.begin() + static_cast<int64_t>(step));
}

}  // namespace tutti
