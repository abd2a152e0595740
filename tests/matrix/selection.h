// Which groups of cases to run: all of them, or a seeded sample. Pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/matrix/case.h"

namespace tutti {

struct SelectionOptions {
  uint64_t seed = 1;
  bool large = true;  // with the count of 2^20 + 3
};

// Every cell of the matrix, grouped; groups of one communicator lie together, in seeded order.
std::vector<Group> whole_matrix(const SelectionOptions& options);

// A sample in which every pair of parameter values that go together occurs, and every call with
// every algorithm, type and operator. Groups of cheap counts run in every place and memory.
std::vector<Group> pairwise_sample(const SelectionOptions& options);

// The group of one case alone.
Group group_of(const Case& c);

}  // namespace tutti
