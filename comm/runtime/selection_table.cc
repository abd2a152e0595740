#include "comm/runtime/selection_table.h"

#include <array>

namespace tutti {

namespace {

constexpr auto kCores = MachineClass::kCores;
constexpr auto kCrowded = MachineClass::kCrowded;
constexpr size_t kKi = 1024;

constexpr auto kTable = std::to_array<SelectionRow>({
    {kCores, Collective::kAllReduce, 2, 16 * kKi, "one_shot"},
    {kCores, Collective::kAllReduce, 4, 16 * kKi, "one_shot"},
    {kCores, Collective::kAllReduce, 8, 8 * kKi, "one_shot"},
    {kCores, Collective::kAllReduce, 16, 4 * kKi, "one_shot"},
    {kCores, Collective::kAllReduce, 32, 2 * kKi, "one_shot"},
    {kCores, Collective::kAllReduce, 64, kKi, "one_shot"},
    {kCores, Collective::kAllReduce, 128, 512, "one_shot"},
    {kCores, Collective::kAllReduce, kAnyRanks, kAnyBytes, "two_shot"},
    {kCores, Collective::kReduce, kAnyRanks, kAnyBytes, "direct"},
    {kCores, Collective::kBroadcast, 2, 4096 * kKi, "direct"},
    {kCores, Collective::kBroadcast, 2, kAnyBytes, "chain"},
    {kCores, Collective::kBroadcast, kAnyRanks, kAnyBytes, "direct"},
    {kCores, Collective::kAllGather, kAnyRanks, kAnyBytes, "direct"},
    {kCores, Collective::kReduceScatter, kAnyRanks, kAnyBytes, "direct"},
    {kCores, Collective::kGather, kAnyRanks, kAnyBytes, "direct"},
    {kCores, Collective::kScatter, kAnyRanks, kAnyBytes, "direct"},
    {kCores, Collective::kAllToAll, kAnyRanks, kAnyBytes, "direct"},
    {kCores, Collective::kBarrier, kAnyRanks, kAnyBytes, "dissemination"},
    {kCrowded, Collective::kAllReduce, 2, 32 * kKi, "one_shot"},
    {kCrowded, Collective::kAllReduce, 4, 16 * kKi, "one_shot"},
    {kCrowded, Collective::kAllReduce, 4, kAnyBytes, "two_shot"},
    {kCrowded, Collective::kAllReduce, 8, 4 * kKi, "one_shot"},
    {kCrowded, Collective::kAllReduce, 8, 32 * kKi, "central"},
    {kCrowded, Collective::kAllReduce, 8, kAnyBytes, "two_shot"},
    {kCrowded, Collective::kAllReduce, 16, 4 * kKi, "one_shot"},
    {kCrowded, Collective::kAllReduce, 32, 2 * kKi, "one_shot"},
    {kCrowded, Collective::kAllReduce, 64, kKi, "one_shot"},
    {kCrowded, Collective::kAllReduce, 128, 512, "one_shot"},
    {kCrowded, Collective::kAllReduce, kAnyRanks, kAnyBytes, "two_shot"},
    {kCrowded, Collective::kReduce, kAnyRanks, kAnyBytes, "direct"},
    {kCrowded, Collective::kBroadcast, 8, 1024 * kKi, "direct"},
    {kCrowded, Collective::kBroadcast, 4, 4096 * kKi, "chain"},
    {kCrowded, Collective::kBroadcast, 8, 4096 * kKi, "scatter_all_gather"},
    {kCrowded, Collective::kBroadcast, kAnyRanks, kAnyBytes, "direct"},
    {kCrowded, Collective::kAllGather, kAnyRanks, kAnyBytes, "direct"},
    {kCrowded, Collective::kReduceScatter, kAnyRanks, kAnyBytes, "direct"},
    {kCrowded, Collective::kGather, kAnyRanks, kAnyBytes, "direct"},
    {kCrowded, Collective::kScatter, 4, kAnyBytes, "direct"},
    {kCrowded, Collective::kScatter, 8, 128, "binomial"},
    {kCrowded, Collective::kScatter, kAnyRanks, kAnyBytes, "direct"},
    {kCrowded, Collective::kAllToAll, kAnyRanks, kAnyBytes, "direct"},
    {kCrowded, Collective::kBarrier, 32, kAnyBytes, "central"},
    {kCrowded, Collective::kBarrier, kAnyRanks, kAnyBytes, "dissemination"},
});

constexpr std::array<const char*, kNumMachineClasses> kNames = {"cores", "crowded"};

}  // namespace

const char* name_of(MachineClass machine) { return kNames[static_cast<size_t>(machine)]; }

std::span<const SelectionRow> selection_table() { return kTable; }

}  // namespace tutti
