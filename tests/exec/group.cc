#include "tests/exec/group.h"

namespace tutti {

namespace {

// Input element i of block `block` of rank `rank`: different everywhere, small enough to be added.
int32_t input_value(int rank, uint32_t block, size_t i) {
  return static_cast<int32_t>((static_cast<size_t>(rank) + 1) * 1'000'003 % 10'007 + block * 131 +
                              i * 7 % 5'003);
}

BlockList list_of(std::vector<size_t> counts, size_t gap) {
  BlockList list;
  list.num = static_cast<uint32_t>(counts.size());
  size_t at = 0;
  for (size_t c : counts) {
    list.displs.push_back(at);
    at += c + gap;
  }
  list.counts = std::move(counts);
  return list;
}

// What the API would bind: a rank without the buffer has blocks of nothing.
BlockList blocks_of(const Job& job, int rank, bool input) {
  const Collective c = job.algorithm->collective;
  const uint32_t num = input ? input_blocks(c, job.nranks) : output_blocks(c, job.nranks);
  if (job.counts.empty()) return {num, job.count, {}, {}};
  const auto r = static_cast<size_t>(rank);
  std::vector<size_t> counts;
  switch (c) {
    case Collective::kAllGather:
    case Collective::kGather:
      if (input) return {1, job.counts[r][0], {}, {}};
      if (c == Collective::kGather && rank != job.root) return {num, 0, {}, {}};
      for (const auto& of_rank : job.counts) counts.push_back(of_rank[0]);
      break;
    case Collective::kReduceScatter:
    case Collective::kScatter:
      if (!input) return {1, job.counts[0][r], {}, {}};
      if (c == Collective::kScatter && rank != job.root) return {num, 0, {}, {}};
      counts = job.counts[0];
      break;
    default:  // all to all
      for (size_t p = 0; p < job.counts.size(); ++p) {
        counts.push_back(input ? job.counts[r][p] : job.counts[p][r]);
      }
  }
  return list_of(std::move(counts), kGap);
}

size_t end_of(const BlockList& blocks) {
  size_t end = 0;
  for (uint32_t b = 0; b < blocks.num; ++b) end = std::max(end, blocks.start(b) + blocks.count(b));
  return end;
}

bool owns(const Job& job, int rank, bool input) {
  Schedule s;
  s.collective = job.algorithm->collective;
  s.nranks = job.nranks;
  s.rank = rank;
  s.root = job.root;
  return input ? has_input(s, rank) : has_output(s, rank);
}

}  // namespace

ExecGroup::ExecGroup(int n, const FaultOptions& faults)
    : n_(n),
      device_(std::move(Device::open(host_device_api(), 0).value())),
      domain_(InprocDomain::create()),
      data_(static_cast<size_t>(n)) {
  for (int r = 0; r < n; ++r) {
    FaultOptions own = faults;
    own.seed = faults.seed * 100 + static_cast<uint64_t>(r);
    transports_.push_back(
        std::make_unique<FaultTransport>(std::make_unique<InprocTransport>(domain_, r), own));
  }
  for (int r = 0; r < n; ++r) {
    const auto i = static_cast<size_t>(r);
    for (int p = 0; p < n; ++p) {
      if (p == r) continue;
      const Status s = transports_[i]->connect(p, transports_[static_cast<size_t>(p)]->address());
      EXPECT_TRUE(s.ok()) << s.text();
    }
    channels_.push_back(std::make_unique<Channels>(*transports_[i]));
    executions_.push_back(std::make_unique<Execution>());
  }
  plans_.resize(static_cast<size_t>(n));
}

void ExecGroup::bind(const Job& job, int rank, uint32_t scratch_slots) {
  RankData& d = data_[static_cast<size_t>(rank)];
  d.input = blocks_of(job, rank, true);
  d.output = blocks_of(job, rank, false);
  Params params;
  params.nranks = n_;
  params.rank = rank;
  params.root = job.root;
  params.in_place = job.is_in_place(rank);
  params.pieces = job.pieces;
  Schedule schedule;
  make_schedule(*job.algorithm, params, &schedule);
  const DataLayout layout(d.input, d.output, schedule.shape.chunks_per_block, sizeof(int32_t),
                          scratch_slots, job.scratch_cap);
  const auto i = static_cast<size_t>(rank);
  auto plan = Plan::bind(schedule, layout, transports_[i]->capabilities(), *channels_[i]);
  ASSERT_TRUE(plan.ok()) << plan.status().text();
  plans_[i] = std::move(plan.value());
}

void ExecGroup::fill(const Job& job, int rank) {
  RankData& d = data_[static_cast<size_t>(rank)];
  const size_t in_end = end_of(d.input);
  const size_t out_end = end_of(d.output);
  // One array in place, so that the input lies inside the output or the other way round.
  const size_t size = std::max(in_end, out_end) + 2 * kGap;
  d.memory_in.assign(size, kGuard);
  d.memory_out.assign(size, kGuard);
  d.in = d.memory_in.data() + kGap;
  d.out = d.memory_out.data() + kGap;
  const auto own = static_cast<uint32_t>(rank);
  if (job.is_in_place(rank) && owns(job, rank, true) && owns(job, rank, false)) {
    d.in = d.out;
    if (d.output.num > d.input.num) d.in += d.output.start(own);
    if (d.input.num > d.output.num) d.out += d.input.start(own);
  }
  for (uint32_t b = 0; b < d.input.num && owns(job, rank, true); ++b) {
    for (size_t i = 0; i < d.input.count(b); ++i) {
      d.in[d.input.start(b) + i] = input_value(rank, b, i);
    }
  }
  // A rank without a buffer must not touch what it was given.
  if (!owns(job, rank, true)) d.in = nullptr;
  if (!owns(job, rank, false)) d.out = nullptr;
  d.scratch.assign(plans_[static_cast<size_t>(rank)]->scratch_bytes(), char(0x55));
}

void ExecGroup::start(const Job& job) {
  uint32_t slots = 0;
  for (int r = 0; r < n_ && job.algorithm->collective != Collective::kAllToAll; ++r) {
    for (int in_place = 0; in_place < 2; ++in_place) {
      Params params;
      params.nranks = n_;
      params.rank = r;
      params.root = job.root;
      params.in_place = in_place != 0;
      params.pieces = job.pieces;
      Schedule schedule;
      make_schedule(*job.algorithm, params, &schedule);
      slots = std::max(slots, schedule.shape.scratch_slots);
    }
  }
  ++sequence_;
  for (int r = 0; r < n_; ++r) {
    bind(job, r, slots);
    fill(job, r);
    RankData& d = data_[static_cast<size_t>(r)];
    Arithmetic how;
    how.dtype = DataType::kInt32;
    executions_[static_cast<size_t>(r)]->start(plans_[static_cast<size_t>(r)].get(),
                                               {d.in, d.out, d.scratch.data()},
                                               {77, sequence_, 1234}, how, &device_, &gate_);
  }
}

void ExecGroup::run(const Job& job) {
  start(job);
  std::vector<bool> done(static_cast<size_t>(n_), false);
  // Faults let time pass in polls: a hang shows as very many of them in vain.
  for (int idle = 0; idle < 20'000; ++idle) {
    bool all = true;
    for (int r = 0; r < n_; ++r) {
      const auto i = static_cast<size_t>(r);
      if (done[i]) continue;
      Execution& e = *executions_[i];
      const uint64_t before = e.steps_run();
      const Execution::State state = e.advance();
      ASSERT_NE(state, Execution::State::kMismatch) << "rank " << r;
      ASSERT_NE(state, Execution::State::kFailed) << e.failure().text();
      done[i] = state == Execution::State::kDone;
      for (const SendEnd& end : plans_[i]->sends) {
        ASSERT_TRUE(!done[i] || end.channel->sent() == end.channel->posted())
            << "rank " << r << " is done while rank " << end.peer << " still reads its memory";
      }
      if (done[i] || e.steps_run() != before) idle = 0;
      all = all && done[i];
    }
    if (all) {
      for (int r = 0; r < n_; ++r) check(job, r);
      return;
    }
  }
  std::string text = "stuck:";
  for (int r = 0; r < n_; ++r) {
    if (done[static_cast<size_t>(r)]) continue;
    text += " rank " + std::to_string(r) + " waits for " +
            std::to_string(executions_[static_cast<size_t>(r)]->waiting_for());
  }
  FAIL() << text;
}

void ExecGroup::run_threads(const Job& job) {
  start(job);
  std::vector<std::thread> threads;
  for (int r = 0; r < n_; ++r) {
    threads.emplace_back([this, r] {
      Execution& e = *executions_[static_cast<size_t>(r)];
      const Deadline deadline = Deadline::after_ns(30'000'000'000);
      WaitLadder ladder({0, UINT32_MAX});  // never naps: there is always more to do
      Execution::State state = e.advance();
      while (state == Execution::State::kBlocked) {
        ASSERT_FALSE(ladder.tick() && deadline.expired(now_ns())) << "rank " << r;
        state = e.advance();
      }
      ASSERT_EQ(state, Execution::State::kDone) << "rank " << r;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int r = 0; r < n_; ++r) check(job, r);
}

int32_t ExecGroup::expected(const Job& job, int rank, uint32_t block, size_t i) const {
  const auto own = static_cast<uint32_t>(rank);
  const auto sum = [&](uint32_t b) {
    int32_t total = 0;
    for (int r = 0; r < n_; ++r) total += input_value(r, b, i);
    return total;
  };
  switch (job.algorithm->collective) {
    case Collective::kAllReduce:
    case Collective::kReduce:
      return sum(0);
    case Collective::kReduceScatter:
      return sum(own);
    case Collective::kAllGather:
    case Collective::kGather:
      return input_value(static_cast<int>(block), 0, i);
    case Collective::kScatter:
      return input_value(job.root, own, i);
    case Collective::kAllToAll:
      return input_value(static_cast<int>(block), own, i);
    default:
      return input_value(job.root, 0, i);
  }
}

// Results are right, and everything around them is as it was.
void ExecGroup::check(const Job& job, int rank) const {
  const RankData& d = data_[static_cast<size_t>(rank)];
  std::vector<int32_t> want_in = d.memory_in;
  std::vector<int32_t> want_out(d.memory_out.size(), kGuard);
  const bool shared = d.in != nullptr && d.out != nullptr && d.in >= d.memory_out.data() &&
                      d.in < d.memory_out.data() + d.memory_out.size();
  std::fill(want_in.begin(), want_in.end(), kGuard);
  if (d.in != nullptr) {
    int32_t* in = shared ? want_out.data() + (d.in - d.memory_out.data())
                         : want_in.data() + (d.in - d.memory_in.data());
    for (uint32_t b = 0; b < d.input.num; ++b) {
      for (size_t i = 0; i < d.input.count(b); ++i)
        in[d.input.start(b) + i] = input_value(rank, b, i);
    }
  }
  if (d.out != nullptr) {
    int32_t* out = want_out.data() + (d.out - d.memory_out.data());
    for (uint32_t b = 0; b < d.output.num; ++b) {
      for (size_t i = 0; i < d.output.count(b); ++i) {
        out[d.output.start(b) + i] = expected(job, rank, b, i);
      }
    }
  }
  EXPECT_TRUE(want_in == d.memory_in)
      << "rank " << rank << ": the input or its surroundings changed";
  const auto wrong = std::mismatch(want_out.begin(), want_out.end(), d.memory_out.begin());
  EXPECT_TRUE(wrong.first == want_out.end())
      << "rank " << rank << ": element " << wrong.first - want_out.begin() << " of "
      << want_out.size() << ": expected " << *wrong.first << ", got " << *wrong.second;
}

}  // namespace tutti
