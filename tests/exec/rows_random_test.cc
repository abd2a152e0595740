// Random schedules of rows against the interpreter.
//
// Steps are drawn in one order for all ranks, in which every message is sent before it is consumed
// and nothing is written that an unconsumed message lends. Ranks then run ahead of that order as
// far as the executor lets them.
#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <unistd.h>
#include <utility>

#include "tests/exec/row_team.h"

namespace tutti {
namespace {

constexpr uint32_t kInputs = 10;
constexpr uint32_t kScratch = 110;  // more than can be lent, read, landed in and written at once
constexpr uint32_t kMostHeld = 12;
constexpr uint32_t kOutputs = 16;

struct Message {
  int from;
  std::vector<uint32_t> lent;  // rows of scratch
  uint32_t count;
};

class Drawing {
 public:
  Drawing(uint64_t seed, int nranks) : random_(seed), n_(nranks) {
    constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kBfloat16, DataType::kFloat16};
    const DataType from = kTypes[below(3)];
    const DataType to = below(2) == 0 ? from : kTypes[below(3)];
    const uint32_t hidden = std::vector<uint32_t>{1, 5, 64, 600}[below(4)];
    job_.seed = seed;
    job_.stores = below(2) == 0 ? Stores::kCached : Stores::kStreaming;
    job_.set(Buffer::kInput, kInputs, hidden * size_of(from), from, below(2) * size_of(from));
    job_.set(Buffer::kScratch, kScratch, hidden * size_of(from), from, below(2) * size_of(from));
    job_.set(Buffer::kOutput, kOutputs, hidden * size_of(to), to, below(2) * size_of(to));
    job_.set(Buffer::kBias0, 3, hidden * size_of(to), to);
    same_type_ = from == to;
    job_.schedules.resize(static_cast<size_t>(n_));
    for (int r = 0; r < n_; ++r) {
      builders_.emplace_back(n_, r, &job_.schedules[static_cast<size_t>(r)]);
    }
    written_.resize(static_cast<size_t>(n_));
    arriving_.resize(static_cast<size_t>(n_));
  }

  RowCase draw(int num_events) {
    for (int i = 0; i < num_events; ++i) {
      const auto rank = static_cast<int>(below(static_cast<uint32_t>(n_)));
      if (below(3) == 0) {
        send(rank);
      } else {
        compute(rank);
      }
    }
    draining_ = true;
    for (int r = 0; r < n_; ++r) {
      while (!arriving_[static_cast<size_t>(r)].empty()) compute(r);
    }
    return std::move(job_);
  }

 private:
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  int other(int rank) {
    return static_cast<int>(
        (static_cast<uint32_t>(rank) + 1 + below(static_cast<uint32_t>(n_) - 1)) %
        static_cast<uint32_t>(n_));
  }
  // At most two of a pair, so that few slots are enough.
  bool full(int from, int to) {
    const auto& queue = arriving_[static_cast<size_t>(to)];
    return std::count_if(queue.begin(), queue.end(),
                         [from](const Message& m) { return m.from == from; }) >= 2;
  }

  void send(int rank) {
    const int to = other(rank);
    if (full(rank, to)) return;
    const std::vector<uint32_t> held(written_[static_cast<size_t>(rank)].begin(),
                                     written_[static_cast<size_t>(rank)].end());
    std::vector<uint32_t> rows;
    const bool scratch = !held.empty() && below(2) == 0;
    for (uint32_t i = below(8); i > 0; --i) {
      rows.push_back(scratch ? held[below(static_cast<uint32_t>(held.size()))] : below(kInputs));
    }
    RowBuilder& b = builder(rank);
    b.send(to, b.list(scratch ? Buffer::kScratch : Buffer::kInput, rows));
    const auto count = static_cast<uint32_t>(rows.size());
    arriving_[static_cast<size_t>(to)].push_back(
        {rank, scratch ? rows : std::vector<uint32_t>{}, count});
  }

  // Rows of scratch that no message lends, that are not in `used`, and are from now on.
  std::vector<uint32_t> free_rows(int rank, uint32_t count, std::set<uint32_t>* used) {
    std::set<uint32_t> taken = *used;
    for (const auto& queue : arriving_) {
      for (const Message& m : queue) {
        if (m.from == rank) taken.insert(m.lent.begin(), m.lent.end());
      }
    }
    std::vector<uint32_t> rows;
    // Half of the time the lowest, which have been lent not long ago.
    const uint32_t start = below(2) == 0 ? 0 : below(kScratch);
    for (uint32_t i = 0; i < kScratch && rows.size() < count; ++i) {
      const uint32_t row = (start + i) % kScratch;
      if (taken.insert(row).second) rows.push_back(row);
    }
    EXPECT_EQ(rows.size(), count);
    used->insert(rows.begin(), rows.end());
    return rows;
  }

  void compute(int rank) {
    const auto r = static_cast<size_t>(rank);
    const bool to_output = below(2) == 0;
    const bool sums = below(2) == 0 || (to_output && !same_type_);
    const bool biased = sums && (to_output || same_type_) && below(3) == 0;
    // What the step reads and must not write.
    std::set<uint32_t> used = written_[r];
    const std::vector<Message> messages = take_messages(rank);
    std::vector<std::vector<uint32_t>> landing;
    for (const Message& m : messages) landing.push_back(free_rows(rank, m.count, &used));
    const std::vector<uint32_t> held(written_[r].begin(), written_[r].end());
    std::vector<uint32_t> targets = free_rows(rank, 1 + below(6), &used);
    if (to_output) {
      targets.resize(std::max<size_t>(1, targets.size()));
      for (uint32_t& target : targets) target = below(kOutputs);
      std::sort(targets.begin(), targets.end());
      targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
      std::shuffle(targets.begin(), targets.end(), random_);
    }
    RowBuilder& b = builder(rank);
    b.begin(sums ? RowKernel::kSum : RowKernel::kCopy, sums && below(2) == 0);
    if (biased) b.bias(b.list(Buffer::kBias0, draw_rows(targets.size(), 3)));
    std::vector<RowTerm> choices;
    const auto add = [&](uint32_t input, size_t count) {
      for (uint32_t i = 0; i < count; ++i) choices.push_back({input, i, 1});
    };
    for (size_t i = 0; i < messages.size(); ++i) {
      add(b.input(b.list(Buffer::kScratch, landing[i]), messages[i].from), messages[i].count);
    }
    add(b.input(b.run(Buffer::kInput, 0, kInputs)), kInputs);
    add(b.input(b.list(Buffer::kScratch, held)), held.size());
    const int peer = other(rank);
    const bool sends = !to_output && !draining_ && !full(rank, peer) && below(2) == 0;
    b.output(b.list(to_output ? Buffer::kOutput : Buffer::kScratch, targets),
             sends ? peer : kLocal);
    for (size_t i = 0; i < targets.size(); ++i) {
      std::vector<RowTerm> terms(below(sums ? 6 : 3) == 0 ? 0 : sums ? 1 + below(5) : 1);
      for (RowTerm& term : terms) {
        term = choices[below(static_cast<uint32_t>(choices.size()))];
        term.weight = static_cast<float>(below(64)) / 16;
      }
      b.row(terms);
    }
    b.end();
    if (to_output) return;
    written_[r].insert(targets.begin(), targets.end());
    while (written_[r].size() > kMostHeld) forget(rank);
    if (sends) {
      arriving_[static_cast<size_t>(peer)].push_back(
          {rank, targets, static_cast<uint32_t>(targets.size())});
    }
  }

  // Rows that will not be read again may be written.
  void forget(int rank) {
    std::set<uint32_t>& written = written_[static_cast<size_t>(rank)];
    auto victim = written.begin();
    std::advance(victim, below(static_cast<uint32_t>(written.size())));
    written.erase(victim);
  }

  std::vector<uint32_t> draw_rows(size_t count, uint32_t most) {
    std::vector<uint32_t> rows(count);
    for (uint32_t& row : rows) row = below(most);
    return rows;
  }

  // The oldest of some peers.
  std::vector<Message> take_messages(int rank) {
    std::vector<Message>& queue = arriving_[static_cast<size_t>(rank)];
    std::vector<Message> taken;
    std::set<int> peers;
    for (size_t i = 0; i < queue.size();) {
      if (!peers.insert(queue[i].from).second || (i > 0 && below(4) == 0)) {
        ++i;
        continue;
      }
      taken.push_back(std::move(queue[i]));
      queue.erase(queue.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return taken;
  }
  RowBuilder& builder(int rank) { return builders_[static_cast<size_t>(rank)]; }

  std::mt19937_64 random_;
  const int n_;
  bool same_type_ = false;
  bool draining_ = false;  // nothing is sent any more
  RowCase job_;
  std::vector<RowBuilder> builders_;
  std::vector<std::set<uint32_t>> written_;     // by rank: rows of scratch that may be read
  std::vector<std::vector<Message>> arriving_;  // by rank: sent to it, not consumed
};

class RowsRandomTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { alarm(100); }
  void TearDown() override { alarm(0); }
};

TEST_P(RowsRandomTest, SameAsTheInterpreter) {
  FaultOptions faults;
  const int variant = GetParam();
  faults.hide_view = variant % 2 == 1;
  if (variant >= 2) faults.delay = faults.stall = 0.2;
  if (variant >= 4) faults.slots = 2;
  for (const int n : {2, 3, 4}) {
    RowTeam team(n, faults);
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      SCOPED_TRACE(testing::Message() << n << " ranks, seed " << seed);
      const RowCase job = Drawing(seed * 31 + static_cast<uint64_t>(variant), n).draw(40);
      team.run(job);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, RowsRandomTest, testing::Range(0, 6));

}  // namespace
}  // namespace tutti
