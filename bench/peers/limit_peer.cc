// tutti-peer-limit SOCKET NRANKS: what the host itself allows: flags, one pass of additions,
// memcpy, between threads that see each other's buffers. No library in between. See bench/limit.h.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/limit.h"
#include "bench/perf/expert_plan.h"
#include "bench/perf/rank_server.h"
#include "bench/stream_rows.h"
#include "comm/base/clock.h"

namespace perf {
namespace {

using tutti::Status;

struct Memory {
  void* send = nullptr;
  void* recv = nullptr;
};

// What the threads share.
struct World {
  explicit World(int nranks) : barrier(nranks), sum(nranks), memory(static_cast<size_t>(nranks)) {}
  limit::FlagBarrier barrier;
  limit::FlagSum sum;
  std::vector<Memory> memory;  // by rank; written before a barrier, read after it
  int way = 0;                 // rank 0 decides, before a barrier
};

class LimitRank : public RankSystem {
 public:
  LimitRank(World& world, int rank, int nranks) : world_(world), rank_(rank), nranks_(nranks) {}

  int rank() const override { return rank_; }
  int nranks() const override { return nranks_; }
  std::string version() const override { return "flags, additions and memcpy between threads"; }

  bool has_result(const Case& c) const override { return !is_expert(c.collective); }

  std::string lacks(const Case& c) const override {
    if (has_operator(c.collective)) {
      const bool written = c.collective == Collective::kAllReduce &&
                           (nranks_ == 2 || c.count <= limit::FlagSum::kMostCount) &&
                           c.dtype == tutti::DataType::kFloat32 && c.op == tutti::ReduceOp::kSum;
      return written ? "" : "any reduction but all_reduce of f32 sums, of more than 2 ranks small";
    }
    const bool overwrites = c.collective == Collective::kAllToAll;
    return c.in_place && overwrites ? "in-place all_to_all" : "";
  }

  Status prepare(const Case& c, void* send_memory, void* recv_memory) override {
    blocks_.clear();
    problems_.clear();
    world_.memory[static_cast<size_t>(rank_)] = {send_memory, recv_memory};
    if (is_expert(c.collective)) {
      plan_ = std::make_unique<ExpertPlan>(c, rank_, nranks_);
      world_.barrier.wait(rank_);
      choose_way(limit::kNumMoveWays, [&](int way) { pass_over(c, way); });
      return {};
    }
    for (int r = 0; r < nranks_; ++r) problems_.push_back(make_problem(c, r, nranks_));
    for (int root = 0; root < nranks_; ++root) {
      blocks_.push_back(expected_pieces(c, rank_, nranks_, root));
    }
    world_.barrier.wait(rank_);
    if (c.collective == Collective::kAllReduce && nranks_ == 2) {
      choose_way(2, [&](int streaming) { all_reduce(c, streaming != 0); });
    }
    return {};
  }

  Status run(const Call& call) override {
    if (call.c.collective == Collective::kBarrier) {
      world_.barrier.wait(rank_);
    } else if (call.c.collective == Collective::kAllReduce) {
      if (nranks_ == 2) {
        all_reduce(call.c, world_.way != 0);
      } else {
        world_.sum.run(rank_, static_cast<const float*>(call.buffers.send),
                       static_cast<float*>(call.buffers.recv), call.c.count);
      }
    } else if (is_expert(call.c.collective)) {
      pass_over(call.c, world_.way);
    } else {
      copy_blocks(call);
    }
    return {};
  }

  Status barrier() override {
    world_.barrier.wait(rank_);
    return {};
  }

 private:
  void all_reduce(const Case& c, bool streaming) {
    float* in[2];
    float* out[2];
    for (size_t r = 0; r < 2; ++r) {
      const Buffers buffers = problems_[r]->place(world_.memory[r].send, world_.memory[r].recv, 0);
      in[r] = static_cast<float*>(buffers.send);
      out[r] = static_cast<float*>(buffers.recv);
    }
    limit::all_reduce_direct(world_.barrier, rank_, in, out, c.count, streaming);
  }

  // The fastest of so many ways: stores into or past the caches, and what else there is.
  template <typename Run>
  void choose_way(int ways, Run run) {
    int64_t least = 0;
    int best = 0;
    for (int way = 0; way < ways; ++way) {
      run(way);
      const int64_t begin = tutti::now_ns();
      for (int i = 0; i < 5; ++i) run(way);
      const int64_t spent = tutti::now_ns() - begin;
      if (way > 0 && spent >= least) continue;
      least = spent;
      best = way;
    }
    if (rank_ == 0) world_.way = best;
    world_.barrier.wait(rank_);
  }

  // As many bytes as this rank has to read and write, its tokens' and its rows'.
  void pass_over(const Case& c, int way) {
    world_.barrier.wait(rank_);
    const Memory& memory = world_.memory[static_cast<size_t>(rank_)];
    auto* const send = static_cast<uint8_t*>(memory.send);
    auto* const recv = static_cast<uint8_t*>(memory.recv);
    const ExpertPlan::Places& p = plan_->places();
    const auto tokens = static_cast<size_t>(c.expert.tokens);
    const size_t rows = plan_->rows().size();
    const size_t wide = static_cast<size_t>(c.expert.hidden) * 2;
    const size_t taken = c.expert.quant == ExpertQuant::kForward ? wide / 2 : wide;
    const limit::MoveWay how = limit::move_way(way);
    uint64_t value = 0;
    if (c.collective != Collective::kExpertCombine) {
      value = limit::move_bytes(send + p.x, tokens * taken, recv + p.rows,
                                rows * delivered_bytes(c.expert), how);
    }
    if (c.collective != Collective::kExpertDispatch) {
      value ^= limit::move_bytes(send + p.expert_rows, rows * wide, recv + p.y, tokens * wide, how);
    }
    read_ = value;
    world_.barrier.wait(rank_);
  }

  // Every rank takes what it is to have, from where it lies.
  void copy_blocks(const Call& call) {
    world_.barrier.wait(rank_);
    const size_t width = tutti::size_of(call.c.dtype);
    auto* const to = static_cast<uint8_t*>(call.buffers.recv);
    for (const Piece& piece : blocks_[static_cast<size_t>(call.root)]) {
      const auto source = static_cast<size_t>(piece.source);
      const Memory& memory = world_.memory[source];
      const Buffers theirs = problems_[source]->place(memory.send, memory.recv, call.root);
      const uint8_t* const from = static_cast<const uint8_t*>(theirs.send) + piece.from * width;
      uint8_t* const out = to + piece.at * width;
      if (out != from) std::memcpy(out, from, piece.count * width);
    }
    world_.barrier.wait(rank_);
  }

  World& world_;
  int rank_;
  int nranks_;
  // Of the present case.
  std::unique_ptr<ExpertPlan> plan_;
  volatile uint64_t read_ = 0;  // keeps what only reads from being left out
  // By rank, and by root.
  std::vector<std::unique_ptr<Problem>> problems_;
  std::vector<std::vector<Piece>> blocks_;
};

int run(int argc, char** argv) {
  const int nranks = argc == 3 ? std::atoi(argv[2]) : 0;
  if (nranks < 1 || nranks > limit::kMaxThreads) {
    std::fprintf(stderr, "usage: %s SOCKET NRANKS, up to %d (tutti-perf --peers starts it)\n",
                 argv[0], limit::kMaxThreads);
    return 2;
  }
  World world(nranks);
  std::vector<int> codes(static_cast<size_t>(nranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < nranks; ++rank) {
    threads.emplace_back([&, rank] {
      LimitRank system(world, rank, nranks);
      codes[static_cast<size_t>(rank)] = serve(argv[1], system);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int code : codes) {
    if (code != 0) return code;
  }
  return 0;
}

}  // namespace
}  // namespace perf

int main(int argc, char** argv) { return perf::run(argc, argv); }
