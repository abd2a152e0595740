// The shipped table: which algorithm runs a collective, by the class of the machine. Data.
// `tutti-perf select` measures it and prints rows as selection_table.cc has them.
#pragma once

#include <climits>
#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/schedule/catalog.h"

namespace tutti {

// What all ranks of a job know of the hosts it runs on.
enum class MachineClass : uint8_t {
  kCores,    // a core for each rank
  kCrowded,  // more ranks than cores, on one host at least
};
inline constexpr int kNumMachineClasses = 2;
const char* name_of(MachineClass machine);  // "cores", "crowded"
constexpr MachineClass machine_class(bool any_host_crowded) {
  return any_host_crowded ? MachineClass::kCrowded : MachineClass::kCores;
}

inline constexpr int kAnyRanks = INT_MAX;
inline constexpr size_t kAnyBytes = SIZE_MAX;

struct SelectionRow {
  MachineClass machine;
  Collective collective;
  int most_ranks;     // the row is for so many ranks or fewer,
  size_t most_bytes;  // and blocks of so many bytes or fewer
  const char* algorithm;
};

// The first row that a call falls under decides. For each class and collective the last one is for
// any ranks and bytes.
std::span<const SelectionRow> selection_table();

}  // namespace tutti
