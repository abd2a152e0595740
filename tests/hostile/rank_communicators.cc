// Communicators that come and go between processes leave no descriptor and no mapping.
#include <cstdio>

#include "tests/hostile/rank.h"

namespace tutti {
namespace {

bool come_and_go(const Rank& parent, int turn, const Memory& in, const Memory& out) {
  Rank child = parent;
  if (!went_well("split", tuttiCommSplit(parent.comm, 0, parent.rank, &child.comm, nullptr))) {
    return false;
  }
  return all_reduce_is_right(child, 10'000, turn, in, out) &&
         went_well("finalize", tuttiCommFinalize(child.comm)) &&
         went_well("destroy", tuttiCommDestroy(child.comm));
}

}  // namespace

int run_communicators(const Rank& rank) {
  constexpr int kWarmUp = 5;
  constexpr int kTimes = 200;
  const Memory in(40'000, false);
  const Memory out(40'000, false);
  int descriptors = 0;
  int mappings = 0;
  for (int turn = 0; turn < kWarmUp + kTimes; ++turn) {
    if (turn == kWarmUp) {
      descriptors = num_descriptors();
      mappings = num_mappings();
    }
    if (!come_and_go(rank, turn, in, out)) return 1;
  }
  const int more_descriptors = num_descriptors() - descriptors;
  const int more_mappings = num_mappings() - mappings;
  std::printf("descriptors %+d, mappings %+d\n", more_descriptors, more_mappings);
  // The heap may take a few mappings more, a sanitizer's above all; but not one each time.
  return more_descriptors == 0 && more_mappings <= kTimes / 10 ? 0 : 1;
}

}  // namespace tutti
