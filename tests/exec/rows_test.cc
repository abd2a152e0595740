// Steps of rows through the executor, over transports that can do more or less.
#include <gtest/gtest.h>
#include <numeric>
#include <ostream>
#include <tuple>
#include <unistd.h>
#include <utility>

#include "tests/exec/row_team.h"

namespace tutti {
namespace {

struct Variant {
  const char* name;
  FaultOptions faults;
};

void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

std::vector<Variant> variants() {
  std::vector<Variant> all(5);
  all[0].name = "all";
  all[1].name = "no_view";
  all[1].faults.hide_view = true;
  all[2].name = "one_slot";
  all[2].faults.slots = 1;
  all[3].name = "late";
  all[3].faults.delay = all[3].faults.stall = 0.3;
  all[4].name = "late_landing";
  all[4].faults = all[3].faults;
  all[4].faults.hide_view = true;
  return all;
}

std::vector<uint32_t> iota(uint32_t first, uint32_t count) {
  std::vector<uint32_t> rows(count);
  std::iota(rows.begin(), rows.end(), first);
  return rows;
}

class RowsTest : public testing::TestWithParam<Variant> {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override { alarm(0); }
  // Message rows of all transports: copied on their way, and lent.
  static std::vector<size_t> row_sizes() { return {1, 3, 4, 64, 7168 * 2}; }
};

INSTANTIATE_TEST_SUITE_P(Transports, RowsTest, testing::ValuesIn(variants()),
                         [](const auto& each) { return std::string(each.param.name); });

// Rank 0 sends rows to rank 1, some of which want them in several places; others stay zero, or as
// they were. Both have local rows too.
RowCase scatter(size_t bytes, size_t gap) {
  RowCase job;
  job.set(Buffer::kInput, 12, bytes, DataType::kUint8, gap);
  job.set(Buffer::kOutput, 24, bytes, DataType::kUint8, gap);
  job.schedules.resize(2);
  RowBuilder a(2, 0, &job.schedules[0]);
  a.send(1, a.list(Buffer::kInput, std::vector<uint32_t>{7, 0, 3, 4, 5, 6, 11}));
  a.begin(RowKernel::kCopy);
  const uint32_t own = a.input(a.run(Buffer::kInput, 0, 12));
  a.output(a.list(Buffer::kOutput, std::vector<uint32_t>{3, 2, 1, 0}));
  for (uint32_t row : {9u, 9u, 10u, 0u}) a.row({{own, row, 1}});
  a.end();
  RowBuilder b(2, 1, &job.schedules[1]);
  b.begin(RowKernel::kCopy);
  const uint32_t message = b.input(b.run(Buffer::kOutput, 8, 7), 0);
  const uint32_t local = b.input(b.run(Buffer::kInput, 0, 12));
  b.output(b.list(Buffer::kOutput,
                  std::vector<uint32_t>{8, 0, 1, 9, 10, 11, 20, 21, 12, 13, 14, 22, 23, 2, 3}));
  for (uint32_t row : {0u, 0u, 0u, 1u, 2u, 3u}) b.row({{message, row, 1}});
  b.row({});
  b.row({});
  for (uint32_t row : {4u, 5u, 6u}) b.row({{message, row, 1}});
  for (uint32_t row : {4u, 5u, 4u, 4u}) b.row({{local, row, 1}});
  b.end();
  return job;
}

TEST_P(RowsTest, ScatterWithFanOutAndZeros) {
  RowTeam team(2, GetParam().faults);
  for (const size_t bytes : row_sizes()) {
    for (const size_t gap : {size_t{0}, size_t{5}}) {
      for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
        SCOPED_TRACE(testing::Message() << bytes << " + " << gap);
        RowCase job = scatter(bytes, gap);
        job.stores = stores;
        team.run(job);
        if (HasFatalFailure()) return;
        const uint64_t landed = GetParam().faults.hide_view ? 7 * bytes : 0;
        EXPECT_EQ(team.execution(1).traffic().staged_bytes, landed);
        EXPECT_EQ(team.execution(0).traffic().staged_bytes, 0u);
      }
    }
  }
}

// One row for more places than one pass takes.
TEST_P(RowsTest, ARowForManyPlaces) {
  RowTeam team(2, GetParam().faults);
  RowCase job;
  job.set(Buffer::kInput, 2, 40);
  job.set(Buffer::kOutput, 60, 40);
  job.schedules.resize(2);
  RowBuilder a(2, 0, &job.schedules[0]);
  a.send(1, a.run(Buffer::kInput, 0, 2));
  RowBuilder b(2, 1, &job.schedules[1]);
  b.begin(RowKernel::kCopy);
  const uint32_t message = b.input(b.list(Buffer::kOutput, std::vector<uint32_t>{0, 30}), 0);
  b.output(b.run(Buffer::kOutput, 0, 60));
  for (uint32_t i = 0; i < 60; ++i) b.row({{message, i / 30, 1}});
  b.end();
  team.run(job);
}

// Ranks 1 .. n-1 send their rows, and rank 0 sums them with its own.
RowCase combine(int n, uint32_t hidden, DataType from, DataType to, uint32_t biases,
                bool weighted) {
  constexpr uint32_t kRows = 5;
  RowCase job;
  job.set(Buffer::kInput, kRows, hidden * size_of(from), from);
  job.set(Buffer::kScratch, kRows * static_cast<uint32_t>(n), hidden * size_of(from), from);
  job.set(Buffer::kOutput, kRows, hidden * size_of(to), to, 3 * size_of(to));
  job.set(Buffer::kBias0, kRows, hidden * size_of(to), to);
  job.set(Buffer::kBias1, kRows, hidden * size_of(to), to);
  job.schedules.resize(static_cast<size_t>(n));
  for (int r = 1; r < n; ++r) {
    RowBuilder b(n, r, &job.schedules[static_cast<size_t>(r)]);
    b.send(0, b.list(Buffer::kInput, std::vector<uint32_t>{4, 3, 2, 0, 1}));
  }
  RowBuilder b(n, 0, &job.schedules[0]);
  b.begin(RowKernel::kSum, weighted);
  if (biases > 0) b.bias(b.list(Buffer::kBias0, std::vector<uint32_t>{3, 1, 2, 0}));
  if (biases > 1) b.bias(b.list(Buffer::kBias1, std::vector<uint32_t>{0, 0, 2, 1}));
  std::vector<uint32_t> inputs;
  for (int r = 1; r < n; ++r) {
    inputs.push_back(b.input(b.run(Buffer::kScratch, static_cast<uint32_t>(r) * kRows, kRows), r));
  }
  inputs.push_back(b.input(b.run(Buffer::kInput, 0, kRows)));
  b.output(b.list(Buffer::kOutput, std::vector<uint32_t>{4, 0, 2, 1}));
  std::vector<RowTerm> terms;
  for (uint32_t i = 0; i < kRows; ++i) {
    for (uint32_t k = 0; k < inputs.size(); ++k) {
      terms.push_back({inputs[k], (i + k) % kRows, 0.25f * static_cast<float>(i + 1)});
    }
  }
  b.row(terms);
  b.row({});
  b.row(std::span(terms).subspan(1, 1));
  b.row(std::span(terms).subspan(2));
  b.end();
  return job;
}

TEST_P(RowsTest, SumsOfMessagesAndLocalRows) {
  const DataType types[] = {DataType::kFloat32, DataType::kBfloat16, DataType::kFloat16};
  for (const int n : {2, 4}) {
    RowTeam team(n, GetParam().faults);
    for (const uint32_t hidden : {1u, 3u, 200u}) {
      for (const DataType from : types) {
        for (const DataType to : types) {
          for (uint32_t biases = 0; biases < 3; ++biases) {
            SCOPED_TRACE(testing::Message() << n << " ranks, " << hidden << ' ' << name_of(from)
                                            << " to " << name_of(to) << ", biases " << biases);
            team.run(combine(n, hidden, from, to, biases, (hidden + biases) % 2 == 0));
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// More rows and terms than one call of a kernel takes, and more bytes than one stretch.
TEST_P(RowsTest, LongSums) {
  RowTeam team(2, GetParam().faults);
  for (const auto& [rows, hidden, each] :
       {std::tuple(500u, 2u, 3u), std::tuple(3u, 1u, 2000u), std::tuple(25u, 20'000u, 4u)}) {
    RowCase job;
    job.set(Buffer::kInput, rows, hidden * 4, DataType::kFloat32);
    job.set(Buffer::kScratch, rows, hidden * 4, DataType::kFloat32);
    job.set(Buffer::kOutput, rows, hidden * 4, DataType::kFloat32);
    job.schedules.resize(2);
    for (int r = 0; r < 2; ++r) {
      RowBuilder b(2, r, &job.schedules[static_cast<size_t>(r)]);
      b.send(1 - r, b.run(Buffer::kInput, 0, rows));
      b.begin(RowKernel::kSum, true);
      const uint32_t message = b.input(b.run(Buffer::kScratch, 0, rows), 1 - r);
      const uint32_t local = b.input(b.run(Buffer::kInput, 0, rows));
      b.output(b.run(Buffer::kOutput, 0, rows));
      for (uint32_t i = 0; i < rows; ++i) {
        std::vector<RowTerm> terms;
        for (uint32_t k = 0; k < each; ++k) {
          terms.push_back(
              {k % 3 == 0 ? local : message, (i * 7 + k) % rows, 1.0f / static_cast<float>(k + 1)});
        }
        b.row(terms);
      }
      b.end();
    }
    team.run(job);
    if (HasFatalFailure()) return;
  }
}

// Quantised once at the source, then sent from scratch to two others as two messages each.
RowCase quantised(RowQuant quant, size_t hidden) {
  constexpr uint32_t kRows = 140;  // more than one call of the kernel takes
  const size_t scales = scales_per_row(quant, hidden) * sizeof(float);
  RowCase job;
  job.layout.quant = quant;
  job.set(Buffer::kInput, kRows, hidden * 2, DataType::kBfloat16);
  job.set(Buffer::kScratch, kRows, hidden);
  job.set(Buffer::kScratchSide, kRows, scales, DataType::kUint8, 4);
  job.set(Buffer::kOutput, kRows, hidden);
  job.set(Buffer::kOutputSide, kRows, scales);
  job.schedules.resize(3);
  RowBuilder a(3, 0, &job.schedules[0]);
  a.begin(RowKernel::kQuantise);
  const uint32_t source = a.input(a.run(Buffer::kInput, 0, kRows));
  a.output(a.list(Buffer::kScratch, iota(0, kRows)), 1);
  a.output(a.list(Buffer::kScratchSide, iota(0, kRows)), 1);
  for (uint32_t i = 0; i < kRows; ++i) a.row({{source, (i * 3) % kRows, 1}});
  a.end();
  a.send(2, a.run(Buffer::kScratch, 10, 100));
  a.send(2, a.run(Buffer::kScratchSide, 10, 100));
  for (int r = 1; r < 3; ++r) {
    const uint32_t rows = r == 1 ? kRows : 100;
    RowBuilder b(3, r, &job.schedules[static_cast<size_t>(r)]);
    for (const Buffer to : {Buffer::kOutput, Buffer::kOutputSide}) {
      b.begin(RowKernel::kCopy);
      const uint32_t message = b.input(b.run(to, 0, rows), 0);
      b.output(b.run(to, 0, rows));
      for (uint32_t i = 0; i < rows; ++i) b.row({{message, i, 1}});
      b.end();
    }
  }
  return job;
}

TEST_P(RowsTest, QuantisedThenSent) {
  RowTeam team(3, GetParam().faults);
  for (const RowQuant quant :
       {RowQuant::kFp8Block128, RowQuant::kFp8Block128Pow2, RowQuant::kInt8Token}) {
    for (const size_t hidden : {size_t{1}, size_t{127}, size_t{1500}}) {
      SCOPED_TRACE(testing::Message() << int(quant) << ", " << hidden);
      team.run(quantised(quant, hidden));
      if (HasFatalFailure()) return;
    }
  }
}

// The same two rows of scratch for every message, to both others in turn: each must be back before
// the next is written.
TEST_P(RowsTest, LentScratchIsNotWritten) {
  RowTeam team(3, GetParam().faults);
  for (const size_t bytes : {size_t{40}, size_t{9000}}) {
    RowCase job;
    job.set(Buffer::kInput, 20, bytes);
    job.set(Buffer::kScratch, 2, bytes);
    job.set(Buffer::kOutput, 20, bytes);
    job.schedules.resize(3);
    RowBuilder a(3, 0, &job.schedules[0]);
    for (uint32_t i = 0; i < 20; i += 2) {
      a.begin(RowKernel::kCopy);
      const uint32_t source = a.input(a.run(Buffer::kInput, i, 2));
      a.output(a.run(Buffer::kScratch, 0, 2), 1);
      a.row({{source, 0, 1}});
      a.row({{source, 1, 1}});
      a.end();
      a.send(2, a.run(Buffer::kScratch, i / 2 % 2, 1));
    }
    for (int r = 1; r < 3; ++r) {
      RowBuilder b(3, r, &job.schedules[static_cast<size_t>(r)]);
      const uint32_t each = r == 1 ? 2 : 1;
      for (uint32_t i = 0; i < 20; i += 2) {
        b.begin(RowKernel::kCopy);
        const uint32_t message = b.input(b.run(Buffer::kOutput, i, each), 0);
        b.output(b.run(Buffer::kOutput, i, each));
        for (uint32_t k = 0; k < each; ++k) b.row({{message, k, 1}});
        b.end();
      }
    }
    team.run(job);
    if (HasFatalFailure()) return;
  }
}

// Rank 1 passes rows out of its output on to rank 2 and then writes other rows there.
TEST_P(RowsTest, LentOutputIsNotWritten) {
  RowTeam team(3, GetParam().faults);
  RowCase job;
  job.set(Buffer::kInput, 8, 5000);
  job.set(Buffer::kOutput, 8, 5000);
  job.schedules.resize(3);
  RowBuilder a(3, 0, &job.schedules[0]);
  a.send(1, a.run(Buffer::kInput, 0, 8));
  RowBuilder b(3, 1, &job.schedules[1]);
  b.begin(RowKernel::kCopy);
  const uint32_t message = b.input(b.run(Buffer::kOutput, 0, 8), 0);
  b.output(b.run(Buffer::kOutput, 0, 8));
  for (uint32_t i = 0; i < 8; ++i) b.row({{message, i, 1}});
  b.end();
  b.send(2, b.list(Buffer::kOutput, std::vector<uint32_t>{1, 2, 5, 7}));
  b.begin(RowKernel::kCopy);
  const uint32_t own = b.input(b.run(Buffer::kInput, 0, 8));
  b.output(b.list(Buffer::kOutput, std::vector<uint32_t>{7, 6, 5}));
  for (uint32_t i = 0; i < 3; ++i) b.row({{own, i, 1}});
  b.end();
  RowBuilder c(3, 2, &job.schedules[2]);
  c.begin(RowKernel::kCopy);
  const uint32_t passed = c.input(c.run(Buffer::kOutput, 0, 4), 1);
  c.output(c.run(Buffer::kOutput, 0, 4));
  for (uint32_t i = 0; i < 4; ++i) c.row({{passed, i, 1}});
  c.end();
  team.run(job);
}

// A sum kept at home goes to a peer as well, and a copy in two places.
TEST_P(RowsTest, SeveralOutputs) {
  RowTeam team(2, GetParam().faults);
  RowCase job;
  job.set(Buffer::kInput, 6, 800, DataType::kFloat32);
  job.set(Buffer::kScratch, 6, 800, DataType::kFloat32);
  job.set(Buffer::kOutput, 12, 800, DataType::kFloat32);
  job.schedules.resize(2);
  for (int r = 0; r < 2; ++r) {
    RowBuilder b(2, r, &job.schedules[static_cast<size_t>(r)]);
    b.begin(RowKernel::kSum);
    const uint32_t own = b.input(b.run(Buffer::kInput, 0, 6));
    b.output(b.run(Buffer::kOutput, 6, 3));
    b.output(b.run(Buffer::kScratch, 0, 3), 1 - r);
    b.output(b.list(Buffer::kOutput, std::vector<uint32_t>{11, 9, 10}));
    for (uint32_t i = 0; i < 3; ++i) b.row({{own, i, 1}, {own, i + 3, 1}});
    b.end();
    b.begin(RowKernel::kCopy);
    const uint32_t message = b.input(b.run(Buffer::kOutput, 0, 3), 1 - r);
    b.output(b.run(Buffer::kOutput, 0, 3));
    b.output(b.list(Buffer::kOutput, std::vector<uint32_t>{5, 4, 3}));
    for (uint32_t i = 0; i < 3; ++i) b.row({{message, i, 1}});
    b.end();
  }
  team.run(job);
}

// Messages without rows are messages; steps and rows without anything are ordinary.
TEST_P(RowsTest, Nothing) {
  RowTeam team(2, GetParam().faults);
  for (const size_t bytes : {size_t{0}, size_t{16}}) {
    RowCase job;
    job.set(Buffer::kInput, bytes == 0 ? 4 : 0, bytes);
    job.set(Buffer::kOutput, bytes == 0 ? 4 : 0, bytes);
    const uint32_t rows = bytes == 0 ? 2 : 0;
    job.schedules.resize(2);
    for (int r = 0; r < 2; ++r) {
      RowBuilder b(2, r, &job.schedules[static_cast<size_t>(r)]);
      b.send(1 - r, b.run(Buffer::kInput, 0, rows));
      b.begin(RowKernel::kCopy);
      const uint32_t message = b.input(b.run(Buffer::kOutput, 0, rows), 1 - r);
      b.output(b.run(Buffer::kOutput, 0, rows));
      for (uint32_t i = 0; i < rows; ++i) b.row({{message, i, 1}});
      b.end();
      b.begin(RowKernel::kCopy);
      b.output(b.run(Buffer::kOutput, 0, rows));
      for (uint32_t i = 0; i < rows; ++i) b.row({});
      b.end();
    }
    team.run(job);
    EXPECT_EQ(team.execution(0).steps_run() % 3, 0u);
  }
  RowCase idle;
  idle.schedules.resize(2);
  for (int r = 0; r < 2; ++r) RowBuilder(2, r, &idle.schedules[static_cast<size_t>(r)]);
  team.run(idle);
}

TEST_P(RowsTest, WithAThreadPerRank) {
  RowTeam team(4, GetParam().faults);
  for (int round = 0; round < 20; ++round) {
    team.run_threads(combine(4, 1100, DataType::kBfloat16, DataType::kFloat32, 1, true));
    if (HasFatalFailure()) return;
  }
  RowTeam pair(2, GetParam().faults);
  for (const size_t bytes : row_sizes()) {
    for (int round = 0; round < 20; ++round) pair.run_threads(scatter(bytes, 0));
  }
}

}  // namespace
}  // namespace tutti
