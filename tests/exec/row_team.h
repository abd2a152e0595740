// Ranks that run schedules of rows over inproc endpoints, and what must come out: an interpreter as
// plain as possible, which copies each message when it is sent and folds one element at a time.
// Driven by one thread, rank by rank, so that every run is the same; or by a thread per rank.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/exec/execution.h"
#include "comm/exec/plan.h"
#include "comm/schedule/row_builder.h"
#include "tests/exec/world.h"

namespace tutti {

using RowMemory = std::array<std::vector<uint8_t>, kNumBuffers>;

// One operation of all ranks.
struct RowCase {
  std::vector<Schedule> schedules;  // by rank
  RowLayout layout;
  std::array<uint32_t, kNumBuffers> num_rows = {};
  Stores stores = Stores::kCached;
  uint64_t seed = 1;

  void set(Buffer buffer, uint32_t rows, size_t bytes, DataType dtype = DataType::kUint8,
           size_t gap = 0);
};

// Rows of `rank` before the operation: numbers where the buffer has a type, else any bytes.
RowMemory row_memory(const RowCase& job, int rank);

// What each rank's memory must be afterwards, but for scratch and the gaps between rows.
std::vector<RowMemory> row_model(const RowCase& job);

class RowTeam {
 public:
  explicit RowTeam(int nranks, const FaultOptions& options = {});

  // Binds into the plans of the last run, runs, and compares all but scratch with the model.
  void run(const RowCase& job);
  void run_threads(const RowCase& job);

  // The steps of run(), for tests that look in between.
  void start(const RowCase& job);
  void check(const RowCase& job) const;

  Execution& execution(int rank) { return *executions_[static_cast<size_t>(rank)]; }
  Plan& plan(int rank) { return *plans_[static_cast<size_t>(rank)]; }
  const RowMemory& memory(int rank) const { return memory_[static_cast<size_t>(rank)]; }
  ChannelSource& channels(int rank) { return world_.channels(rank); }

 private:
  World world_;
  std::vector<std::unique_ptr<OpenGate>> gates_;
  std::vector<std::unique_ptr<Plan>> plans_;
  std::vector<std::unique_ptr<Execution>> executions_;
  std::vector<RowMemory> memory_;
  uint32_t sequence_ = 0;
};

RunBuffers buffers_of(RowMemory& memory);

}  // namespace tutti
