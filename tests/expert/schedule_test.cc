// The schedules of dispatch and combine under the verifier: what every output row holds, for random
// routings, against what the oracle's layouts say.
#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <tuple>

#include "comm/verify/row_contract.h"
#include "comm/verify/verify.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/simulated.h"

namespace tutti {
namespace {

using oracle::Fill;
using oracle::Prepared;
using oracle::Problem;

// Where each assignment's row is.
class RowPlaces {
 public:
  RowPlaces(const Problem& p, const Prepared& want) : problem_(p), want_(want) {
    for (int r = 0; r < p.nranks(); ++r) {
      const auto& rows = want.layouts[static_cast<size_t>(r)].row;
      for (uint32_t n = 0; n < rows.size(); ++n) {
        if (rows[n].fill != Fill::kToken) continue;
        rows_[{r, rows[n].src, rows[n].token, rows[n].k}] = n;
      }
    }
  }
  int rank_of(int src, int64_t token, int k) const {
    const int32_t e = expert(src, token, k);
    return e < 0 ? -1 : problem_.owner_of(e);
  }
  // Where layouts have one row for a token k does not matter.
  uint32_t row(int rank, int src, int64_t token, int k) const {
    return rows_.at({rank, src, token, problem_.has_expert_rows() ? k : -1});
  }

 private:
  int32_t expert(int src, int64_t token, int k) const {
    return want_.routing
        .kept[static_cast<size_t>(src)][static_cast<size_t>(token * problem_.topk + k)];
  }
  const Problem& problem_;
  const Prepared& want_;
  std::map<std::tuple<int, int, int64_t, int>, uint32_t> rows_;
};

// Of all transports.
constexpr uint32_t kFewestSlots = 16;

Problem plain_problem(uint64_t seed) {
  oracle::Limits limits = oracle::small_limits();
  limits.masks = false;
  return oracle::sound_problem(seed, limits);
}

// As many rows as any of the schedules may name.
uint32_t rows_of(const Problem& p, const Prepared& want, int rank, Buffer buffer, bool back) {
  const auto i = static_cast<size_t>(rank);
  const auto tokens = static_cast<uint32_t>(p.ranks[i].tokens);
  const auto rows = static_cast<uint32_t>(want.layouts[i].rows);
  const auto topk = static_cast<uint32_t>(p.topk);
  const uint32_t slots = p.has_expert_rows() ? 1 : topk;
  switch (buffer) {
    case Buffer::kInput:
    case Buffer::kInputSide:
      return back ? rows : tokens;
    case Buffer::kOutput:
    case Buffer::kOutputSide:
      return back ? tokens : rows;
    case Buffer::kInputValue:
      return back ? rows * slots : tokens * topk;
    case Buffer::kOutputValue:
      return back ? tokens * topk : rows * slots;
    case Buffer::kBias0:
    case Buffer::kBias1:
      return back ? tokens : 0;
    case Buffer::kScratchValue:
      return static_cast<uint32_t>(p.nranks() * p.max_tokens * p.topk);
    default:
      return 4000;
  }
}

void expect_right(const Problem& p, const Prepared& want, bool back,
                  const std::function<void(int, Schedule*)>& build,
                  const std::function<RowPromise(RowExpressions&, int, Buffer, uint32_t)>& promise,
                  uint32_t slots) {
  RowContract contract;
  contract.num_rows = [&](int rank, Buffer buffer) { return rows_of(p, want, rank, buffer, back); };
  contract.promise = promise;
  VerifyOptions options;
  options.slots = slots;
  const auto defect = verify_rows(p.nranks(), build, contract, options);
  EXPECT_FALSE(defect.has_value()) << describe(*defect);
}

RowPromise dispatched(RowExpressions& say, const Problem& p, const Prepared& want,
                      const DispatchWork& work, int rank, Buffer buffer, uint32_t row) {
  const oracle::RankLayout& layout = want.layouts[static_cast<size_t>(rank)];
  if (buffer == Buffer::kOutputValue) {
    const auto topk = static_cast<uint32_t>(p.topk);
    const uint32_t n = p.has_expert_rows() ? row : row / topk;
    const oracle::Row& at = layout.row[n];
    if (at.fill == Fill::kZero) return RowPromise::holds(say.zero());
    if (at.fill == Fill::kUntouched) return RowPromise::untouched();
    const auto k = static_cast<uint32_t>(p.has_expert_rows() ? at.k : static_cast<int>(row % topk));
    if (!p.has_expert_rows() && layout.row_slot[row] < 0) return RowPromise::holds(say.zero());
    return RowPromise::holds(
        say.row(at.src, Buffer::kInputValue, static_cast<uint32_t>(at.token) * topk + k));
  }
  const oracle::Row& at = layout.row[row];
  if (at.fill == Fill::kZero) return RowPromise::holds(say.zero());
  if (at.fill == Fill::kUntouched) return RowPromise::untouched();
  const bool side = buffer == Buffer::kOutputSide;
  const Value source = say.row(at.src, side && !work.quantise ? Buffer::kInputSide : Buffer::kInput,
                               static_cast<uint32_t>(at.token));
  if (work.weighted) {
    const std::vector<float>& weights = p.ranks[static_cast<size_t>(at.src)].weights;
    return RowPromise::holds(
        say.sum({{source, weights[static_cast<size_t>(at.token * p.topk + at.k)]}}));
  }
  if (!work.quantise) return RowPromise::holds(source);
  return RowPromise::holds(side ? say.scales(source) : say.quantised(source));
}

DispatchWork dispatch_work(const Problem& p, uint64_t seed, ExpertAlgo algo) {
  DispatchWork work;
  work.slice = 1 + static_cast<uint32_t>(seed % 5);
  work.algo = algo;
  work.quantise = seed % 3 == 0;
  work.scales = work.quantise || seed % 3 == 1;
  work.values = seed % 2 == 0;
  work.weighted = p.has_expert_rows() && !work.scales;
  return work;
}

void expect_dispatches(const Problem& p, const DispatchWork& work) {
  const Prepared want = oracle::prepare(p);
  const Simulated simulated(p);
  expect_right(
      p, want, false,
      [&](int rank, Schedule* out) { build_dispatch(simulated.routed(rank), work, out); },
      [&](RowExpressions& say, int rank, Buffer buffer, uint32_t row) {
        const bool moved = buffer == Buffer::kOutput ||
                           (buffer == Buffer::kOutputSide && work.scales) ||
                           (buffer == Buffer::kOutputValue && work.values);
        if (!moved) return RowPromise::anything();
        return dispatched(say, p, want, work, rank, buffer, row);
      },
      kFewestSlots);
}

TEST(ExpertSchedule, DispatchBringsEveryRowWhereItBelongs) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Problem p = plain_problem(seed);
    expect_dispatches(p, dispatch_work(p, seed, ExpertAlgo::kDirect));
    if (testing::Test::HasFailure()) return;
  }
}

// As many ranks on a node as the seed says, the last node smaller where they do not come out even.
Problem problem_on_nodes(uint64_t seed) {
  oracle::Limits limits = oracle::small_limits();
  limits.masks = false;
  limits.max_ranks = 9;
  Problem p = oracle::sound_problem(seed, limits);
  p.ranks_per_node = 1 + static_cast<int>(seed / 2 % 4);
  return p;
}

TEST(ExpertSchedule, DispatchOverNodesBringsEveryRowWhereItBelongs) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Problem p = problem_on_nodes(seed);
    expect_dispatches(p, dispatch_work(p, seed, ExpertAlgo::kHier));
    if (testing::Test::HasFailure()) return;
  }
}

// Rows of messages to other ranks, by tier as the oracle has them.
oracle::Traffic traffic_of(const Problem& p, int rank, const Schedule& schedule) {
  oracle::Traffic sum;
  for (const Operand& o : schedule.operands) {
    const bool main =
        o.buffer == Buffer::kInput || o.buffer == Buffer::kOutput || o.buffer == Buffer::kScratch;
    if (o.peer == kLocal || !main) continue;
    sum.rows[p.node_of(rank) == p.node_of(o.peer) ? 1 : 2] += schedule.rows.of(o.chunk).size();
  }
  return sum;
}

// Sent and received, by all ranks: twice what travels. Rows cross to a node that needs them once,
// and to a rank that needs them once.
TEST(ExpertSchedule, DispatchCrossesToANodeOnce) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Problem p = problem_on_nodes(seed);
    const Prepared want = oracle::prepare(p);
    const Simulated simulated(p);
    for (const bool hier : {false, true}) {
      const auto algorithm = hier ? oracle::Algorithm::kHier : oracle::Algorithm::kDirect;
      const DispatchWork work =
          dispatch_work(p, seed, hier ? ExpertAlgo::kHier : ExpertAlgo::kDirect);
      oracle::Traffic moved;
      Schedule schedule;
      for (int r = 0; r < p.nranks(); ++r) {
        build_dispatch(simulated.routed(r), work, &schedule);
        const oracle::Traffic mine = traffic_of(p, r, schedule);
        for (const int tier : {1, 2}) moved.rows[tier] += mine.rows[tier];
      }
      const oracle::Traffic least =
          oracle::total(oracle::dispatch_traffic(p, want.routing, algorithm, 1));
      for (const int tier : {1, 2}) ASSERT_EQ(moved.rows[tier], 2 * least.rows[tier]) << tier;
    }
  }
}

// What a token's rows are on their way: those of a rank with their weights, by k.
using Terms = std::vector<RowExpressions::Term>;

std::vector<Terms> terms_of_ranks(RowExpressions& say, const Problem& p, const RowPlaces& places,
                                  const CombineWork& work, int src, uint32_t token, Terms* by_k) {
  const std::vector<float>& weights = p.ranks[static_cast<size_t>(src)].weights;
  std::vector<Terms> of_rank(p.ranks.size());
  for (int k = 0; k < p.topk; ++k) {
    const int rank = places.rank_of(src, token, k);
    if (rank < 0) continue;
    Terms& list = of_rank[static_cast<size_t>(rank)];
    if (!p.has_expert_rows() && !list.empty()) continue;
    const float weight =
        work.weighted ? weights[token * static_cast<size_t>(p.topk) + static_cast<size_t>(k)] : 1;
    list.push_back({say.row(rank, Buffer::kInput, places.row(rank, src, token, k)), weight});
    by_k->push_back(list.back());
  }
  return of_rank;
}

// The sum for one token, in the order and nesting that the contract asks for.
Value combined(RowExpressions& say, const Problem& p, const RowPlaces& places,
               const CombineWork& work, int src, uint32_t token) {
  Terms terms;
  for (uint32_t i = 0; i < work.num_biases; ++i) {
    terms.push_back({say.row(src, i == 0 ? Buffer::kBias0 : Buffer::kBias1, token), 1});
  }
  Terms by_k;
  const std::vector<Terms> of_rank = terms_of_ranks(say, p, places, work, src, token, &by_k);
  if (work.reduce == ExpertReduce::kSlot) {
    terms.insert(terms.end(), by_k.begin(), by_k.end());
    return say.sum(terms);
  }
  const bool rows_are_partials = !p.has_expert_rows() && work.same_type;
  std::vector<Terms> of_node(static_cast<size_t>(p.nodes()));
  for (size_t r = 0; r < of_rank.size(); ++r) {
    if (of_rank[r].empty()) continue;
    const Value partial = rows_are_partials ? of_rank[r][0].value : say.sum(of_rank[r]);
    const bool by_node = work.reduce == ExpertReduce::kNode;
    Terms& to = by_node ? of_node[static_cast<size_t>(p.node_of(static_cast<int>(r)))] : terms;
    to.push_back({partial, 1});
  }
  for (const Terms& node : of_node) {
    if (!node.empty()) terms.push_back({say.sum(node), 1});
  }
  return say.sum(terms);
}

RowPromise value_back(RowExpressions& say, const Problem& p, const RowPlaces& places, int src,
                      uint32_t slot) {
  const auto topk = static_cast<uint32_t>(p.topk);
  const auto k = static_cast<int>(slot % topk);
  const int rank = places.rank_of(src, slot / topk, k);
  if (rank < 0) return RowPromise::holds(say.zero());
  const uint32_t row = places.row(rank, src, slot / topk, k);
  return RowPromise::holds(
      say.row(rank, Buffer::kInputValue, p.has_expert_rows() ? row : row * topk + slot % topk));
}

CombineWork combine_work(const Problem& p, uint64_t seed, ExpertReduce reduce) {
  CombineWork work;
  work.slice = 1 + static_cast<uint32_t>(seed % 4);
  work.reduce = reduce;
  work.weighted = p.has_expert_rows() && seed % 3 == 0;
  work.same_type = seed % 5 != 0;
  work.num_biases = static_cast<uint32_t>(seed % 3);
  work.values = seed % 4 < 2;
  return work;
}

void expect_combines(const Problem& p, const CombineWork& work) {
  const Prepared want = oracle::prepare(p);
  const Simulated simulated(p);
  const RowPlaces places(p, want);
  expect_right(
      p, want, true,
      [&](int rank, Schedule* out) { build_combine(simulated.routed(rank), work, out); },
      [&](RowExpressions& say, int rank, Buffer buffer, uint32_t row) {
        if (buffer == Buffer::kOutput) {
          return RowPromise::holds(combined(say, p, places, work, rank, row));
        }
        if (buffer != Buffer::kOutputValue || !work.values) return RowPromise::anything();
        return value_back(say, p, places, rank, row);
      },
      kFewestSlots);
}

TEST(ExpertSchedule, CombineAddsUpInTheOrderAskedFor) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Problem p = plain_problem(seed);
    const ExpertReduce reduce = seed % 2 == 0 ? ExpertReduce::kSlot : ExpertReduce::kRank;
    expect_combines(p, combine_work(p, seed, reduce));
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ExpertSchedule, CombineAddsUpNodesInTheOrderAskedFor) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Problem p = problem_on_nodes(seed);
    expect_combines(p, combine_work(p, seed, ExpertReduce::kNode));
    if (testing::Test::HasFailure()) return;
  }
}

// Of a node that has anything for a token one row crosses to the token's rank; of a rank, one row.
TEST(ExpertSchedule, CombineCrossesFromANodeOnce) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Problem p = problem_on_nodes(seed);
    const Prepared want = oracle::prepare(p);
    const Simulated simulated(p);
    for (const ExpertReduce reduce :
         {ExpertReduce::kSlot, ExpertReduce::kRank, ExpertReduce::kNode}) {
      const CombineWork work = combine_work(p, seed, reduce);
      oracle::Traffic moved;
      Schedule schedule;
      for (int r = 0; r < p.nranks(); ++r) {
        build_combine(simulated.routed(r), work, &schedule);
        const oracle::Traffic mine = traffic_of(p, r, schedule);
        for (const int tier : {1, 2}) moved.rows[tier] += mine.rows[tier];
      }
      const oracle::Traffic least = oracle::total(
          oracle::combine_traffic(p, want.routing, static_cast<oracle::Reduce>(reduce), 1));
      for (const int tier : {1, 2}) ASSERT_EQ(moved.rows[tier], 2 * least.rows[tier]) << tier;
    }
  }
}

// The memory of combine is what the group sets aside, whatever the routing.
TEST(ExpertSchedule, ScratchStaysWithinWhatWasAnnounced) {
  constexpr ExpertReduce kReduces[] = {ExpertReduce::kSlot, ExpertReduce::kRank,
                                       ExpertReduce::kNode};
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const Problem p = problem_on_nodes(seed);
    const Simulated simulated(p);
    const CombineWork work = combine_work(p, seed, kReduces[seed % 3]);
    const bool by_slot = work.reduce == ExpertReduce::kSlot;
    const uint64_t most = work.reduce == ExpertReduce::kNode
                              ? node_combine_scratch_rows(p.nranks(), work.slice)
                              : combine_scratch_rows(p.nranks(), work.slice,
                                                     by_slot ? static_cast<uint32_t>(p.topk) : 1);
    Schedule schedule;
    for (int r = 0; r < p.nranks(); ++r) {
      build_combine(simulated.routed(r), work, &schedule);
      for (const Operand& o : schedule.operands) {
        if (o.buffer != Buffer::kScratch) continue;
        for (const uint32_t row : schedule.rows.of(o.chunk)) ASSERT_LT(row, most) << seed;
      }
    }
  }
}

}  // namespace
}  // namespace tutti
