#include "tests/exec/row_team.h"

#include <gtest/gtest.h>
#include <string>
#include <thread>

#include "comm/base/clock.h"
#include "comm/base/wait.h"
#include "comm/schedule/text.h"
#include "tests/exec/row_values.h"

namespace tutti {

void RowCase::set(Buffer buffer, uint32_t rows, size_t bytes, DataType dtype, size_t gap) {
  layout[buffer] = {bytes, bytes + gap, dtype};
  num_rows[static_cast<size_t>(buffer)] = rows;
}

RowMemory row_memory(const RowCase& job, int rank) {
  RowMemory memory;
  uint64_t state = job.seed * 1'000'003 + static_cast<uint64_t>(rank);
  for (int b = 0; b < kNumBuffers; ++b) {
    const auto i = static_cast<size_t>(b);
    const RowFormat& format = job.layout.formats[i];
    memory[i].resize(job.num_rows[i] * format.stride);
    const size_t element = size_of(format.dtype);
    for (size_t at = 0; at < memory[i].size(); at += element) {
      state = state * 6364136223846793005 + 1442695040888963407;
      const auto random = static_cast<uint32_t>(state >> 40);
      if (!is_float(format.dtype)) {
        memory[i][at] = static_cast<uint8_t>(random);
      } else if (at + element <= memory[i].size()) {
        const float value = (static_cast<float>(random % 20'001) - 10'000) / 512;
        store_value(memory[i].data() + at, format.dtype, value);
      }
    }
  }
  return memory;
}

RunBuffers buffers_of(RowMemory& memory) {
  const auto at = [&](Buffer b) -> void* {
    std::vector<uint8_t>& bytes = memory[static_cast<size_t>(b)];
    return bytes.empty() ? nullptr : bytes.data();
  };
  return {at(Buffer::kInput),      at(Buffer::kOutput),      at(Buffer::kScratch),
          at(Buffer::kInputSide),  at(Buffer::kOutputSide),  at(Buffer::kScratchSide),
          at(Buffer::kInputValue), at(Buffer::kOutputValue), at(Buffer::kScratchValue),
          at(Buffer::kBias0),      at(Buffer::kBias1)};
}

RowTeam::RowTeam(int nranks, const FaultOptions& options)
    : world_(nranks, [&](int rank) {
        FaultOptions own = options;
        own.seed = options.seed * 100 + static_cast<uint64_t>(rank);
        return own;
      }) {
  for (int r = 0; r < nranks; ++r) {
    plans_.push_back(std::make_unique<Plan>(world_.capabilities(r)));
    executions_.push_back(std::make_unique<Execution>());
    gates_.push_back(std::make_unique<OpenGate>());
  }
}

void RowTeam::start(const RowCase& job) {
  ++sequence_;
  memory_.clear();
  for (int r = 0; r < world_.nranks(); ++r) memory_.push_back(row_memory(job, r));
  for (int r = 0; r < world_.nranks(); ++r) {
    const auto i = static_cast<size_t>(r);
    const Status bound = plans_[i]->bind_rows(job.schedules[i], job.layout, world_.channels(r));
    ASSERT_TRUE(bound.ok()) << bound.text();
    Arithmetic how;
    how.stores = job.stores;
    executions_[i]->start(plans_[i].get(), buffers_of(memory_[i]), {1, sequence_, 99}, how, &host(),
                          gates_[i].get());
  }
}

void RowTeam::run(const RowCase& job) {
  start(job);
  if (testing::Test::HasFatalFailure()) return;
  std::vector<bool> done(plans_.size(), false);
  // Faults let time pass in polls: a hang shows as very many of them in vain.
  for (int idle = 0; idle < 5'000; ++idle) {
    bool all = true;
    for (size_t i = 0; i < plans_.size(); ++i) {
      if (done[i]) continue;
      Execution& e = *executions_[i];
      const uint64_t before = e.steps_run();
      const Execution::State state = e.advance();
      ASSERT_NE(state, Execution::State::kMismatch) << "rank " << i;
      ASSERT_NE(state, Execution::State::kFailed) << e.failure().text();
      done[i] = state == Execution::State::kDone;
      if (done[i] || e.steps_run() != before) idle = 0;
      all = all && done[i];
    }
    if (all) return check(job);
  }
  std::string text = "stuck:";
  for (size_t i = 0; i < plans_.size(); ++i) {
    if (!done[i])
      text += " " + std::to_string(i) + "->" + std::to_string(executions_[i]->waiting_for());
  }
  FAIL() << text;
}

void RowTeam::run_threads(const RowCase& job) {
  start(job);
  std::vector<std::thread> threads;
  for (auto& execution : executions_) {
    threads.emplace_back([e = execution.get()] {
      const Deadline deadline = Deadline::after_ns(30'000'000'000);
      WaitLadder ladder({0, UINT32_MAX});
      Execution::State state = e->advance();
      while (state == Execution::State::kBlocked) {
        ASSERT_FALSE(ladder.tick() && deadline.expired(now_ns()));
        state = e->advance();
      }
      ASSERT_EQ(state, Execution::State::kDone);
    });
  }
  for (std::thread& thread : threads) thread.join();
  check(job);
}

void RowTeam::check(const RowCase& job) const {
  const std::vector<RowMemory> want = row_model(job);
  for (size_t r = 0; r < memory_.size(); ++r) {
    for (size_t b = 0; b < kNumBuffers; ++b) {
      const auto buffer = static_cast<Buffer>(b);
      if (buffer == Buffer::kScratch || buffer == Buffer::kScratchSide ||
          buffer == Buffer::kScratchValue) {
        continue;
      }
      const auto wrong = std::mismatch(want[r][b].begin(), want[r][b].end(), memory_[r][b].begin());
      ASSERT_TRUE(wrong.first == want[r][b].end())
          << "rank " << r << ", " << name_of(buffer) << ": byte "
          << wrong.first - want[r][b].begin() << " of rows of " << job.layout[buffer].stride
          << ": expected " << int{*wrong.first} << ", got " << int{*wrong.second};
    }
  }
}

}  // namespace tutti
