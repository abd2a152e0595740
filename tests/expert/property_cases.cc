#include "tests/expert/property_cases.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/row_maps.h"

namespace tutti {

using oracle::Prepared;
using oracle::Problem;

namespace {

using Bytes = RowMaps::Bytes;
using Numbers = std::vector<float>;

// Sums and products of these are exact in bf16, too.
Numbers integers(oracle::Random& random, int64_t count) {
  Numbers numbers;
  for (int64_t i = 0; i < count; ++i) numbers.push_back(static_cast<float>(random.between(-2, 2)));
  return numbers;
}

Numbers normals(oracle::Random& random, int64_t count) {
  Numbers numbers;
  for (int64_t i = 0; i < count; ++i) numbers.push_back(random.normal());
  return numbers;
}

// What all ranks draw alike, and what each draws for itself.
oracle::Random shared_random(uint64_t seed) { return {seed * 1000}; }
oracle::Random random_of(uint64_t seed, size_t rank) { return {seed * 1000 + 1 + rank}; }

// `p` with small integers for weights.
Problem with_integer_weights(Problem p, uint64_t seed) {
  oracle::Random random = shared_random(seed);
  for (oracle::RankInput& rank : p.ranks) {
    rank.weights = integers(random, static_cast<int64_t>(rank.weights.size()));
  }
  return p;
}

void keep_tokens(oracle::RankInput& rank, int64_t most, int topk) {
  rank.tokens = std::min(rank.tokens, most);
  rank.ids.resize(static_cast<size_t>(rank.tokens * topk));
  rank.weights.resize(rank.ids.size());
}

// body(maps, comm) on each rank, its handle prepared.
template <typename Body>
void on_maps(const RunRanks& run, const Problem& p, const Prepared& want, Body body) {
  run(p.nranks(), [&](int rank, tuttiComm_t comm) {
    const auto i = static_cast<size_t>(rank);
    SCOPED_TRACE("rank " + std::to_string(rank));
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.created));
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    body(RowMaps(p, i, want.layouts[i], r.handle), comm);
  });
}

int64_t dot(const Numbers& a, const Numbers& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return static_cast<int64_t>(sum);
}

// `rows` with NaN where no token is.
Numbers spoil_padding(Numbers rows, const oracle::RankLayout& layout, int64_t hidden) {
  for (size_t n = 0; n < layout.row.size(); ++n) {
    if (layout.row[n].fill == oracle::Fill::kToken) continue;
    std::fill_n(rows.begin() + static_cast<int64_t>(n) * hidden, hidden, std::nanf(""));
  }
  return rows;
}

}  // namespace

void expect_adjoint(const RunRanks& run, const Problem& given, uint64_t seed) {
  Problem p = with_integer_weights(given, seed);
  keep_tokens(p.ranks[seed % p.ranks.size()], 0, p.topk);
  const Prepared want = oracle::prepare(p);
  oracle::Random shared = shared_random(seed);
  const RowMap map = random_map(p, shared);
  on_maps(run, p, want, [&](const RowMaps& maps, tuttiComm_t comm) {
    oracle::Random random = random_of(seed, maps.rank());
    const Numbers x = integers(random, maps.tokens() * map.hidden);
    const Numbers y = integers(random, maps.layout().rows * map.hidden);
    const Numbers dx = oracle::unpack(map.dtype, maps.dispatch(oracle::pack(map.dtype, x), map));
    const Numbers clean = spoil_padding(y, maps.layout(), map.hidden);
    const Numbers cy = oracle::unpack(map.dtype, maps.combine(oracle::pack(map.dtype, clean), map));
    int64_t sums[] = {dot(dx, y), dot(x, cy)};
    ASSERT_TRUE(
        returns(tuttiSuccess, tuttiAllReduce(sums, sums, 2, tuttiInt64, tuttiSum, comm, nullptr)));
    EXPECT_EQ(sums[0], sums[1]);
  });
}

namespace {

// How often each token of `rank` comes back, or the sum of its weights.
Numbers multiplicities(const Problem& p, const oracle::Routing& routing, size_t rank,
                       bool weighted) {
  Numbers times;
  for (int64_t t = 0; t < p.ranks[rank].tokens; ++t) {
    float sum = 0;
    std::vector<bool> seen(p.ranks.size());
    for (int k = 0; k < p.topk; ++k) {
      const auto at = static_cast<size_t>(t * p.topk + k);
      const int32_t expert = routing.kept[rank][at];
      if (expert < 0) continue;
      const auto owner = static_cast<size_t>(p.owner_of(expert));
      // By expert a row for each assignment, else one for each rank.
      if (!p.has_expert_rows() && seen[owner]) continue;
      seen[owner] = true;
      sum += weighted ? p.ranks[rank].weights[at] : 1.0f;
    }
    times.push_back(sum);
  }
  return times;
}

}  // namespace

void expect_there_and_back(const RunRanks& run, const Problem& given, uint64_t seed) {
  const Problem p = with_integer_weights(given, seed);
  const Prepared want = oracle::prepare(p);
  oracle::Random shared = shared_random(seed);
  const RowMap back = random_map(p, shared);
  RowMap there = back;
  there.weighted = false;
  on_maps(run, p, want, [&](const RowMaps& maps, tuttiComm_t) {
    oracle::Random random = random_of(seed, maps.rank());
    Numbers x = integers(random, maps.tokens() * back.hidden);
    const Numbers times = multiplicities(p, want.routing, maps.rank(), back.weighted);
    const Bytes rows = maps.dispatch(oracle::pack(there.dtype, x), there);
    const Numbers y = oracle::unpack(back.dtype, maps.combine(rows, back));
    for (size_t i = 0; i < x.size(); ++i) x[i] *= times[i / static_cast<size_t>(back.hidden)];
    EXPECT_EQ(y, x);
  });
}

void expect_linear(const RunRanks& run, const Problem& given, uint64_t seed) {
  const Problem p = with_integer_weights(given, seed);
  const Prepared want = oracle::prepare(p);
  oracle::Random shared = shared_random(seed);
  RowMap map = random_map(p, shared);
  // A combination of sums of many terms needs more bits than bf16 has.
  map.dtype = tuttiFloat32;
  on_maps(run, p, want, [&](const RowMaps& maps, tuttiComm_t) {
    oracle::Random random = random_of(seed, maps.rank());
    const auto mix = [](const Numbers& a, const Numbers& b) {
      Numbers out;
      for (size_t i = 0; i < a.size(); ++i) out.push_back(2 * a[i] - 3 * b[i]);
      return out;
    };
    const auto expect = [&](int64_t rows,
                            Bytes (RowMaps::*apply)(const Bytes&, const RowMap&) const) {
      const auto of = [&](const Numbers& x) {
        return oracle::unpack(map.dtype, (maps.*apply)(oracle::pack(map.dtype, x), map));
      };
      const Numbers a = integers(random, rows * map.hidden);
      const Numbers b = integers(random, rows * map.hidden);
      EXPECT_EQ(of(mix(a, b)), mix(of(a), of(b)));
    };
    expect(maps.tokens(), &RowMaps::dispatch);
    expect(maps.layout().rows, &RowMaps::combine);
  });
}

void expect_handle_lasts(const RunRanks& run, const Problem& p, uint64_t seed) {
  const Prepared want = oracle::prepare(p);
  run(p.nranks(), [&](int rank, tuttiComm_t comm) {
    const auto i = static_cast<size_t>(rank);
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const tuttiEpHandleConfig_t shape = ep_handle_config(p);
    const tuttiEpTensor_t ids = ep_tensor(r.input().ids, {r.input().tokens, p.topk});
    const tuttiEpTensor_t weights = ep_tensor(r.input().weights, {r.input().tokens, p.topk});
    oracle::Random shared = shared_random(seed);
    oracle::Random random = random_of(seed, i);
    const RowMaps lasting(p, i, want.layouts[i], r.handle);
    for (int op = 0; op < 100 && !testing::Test::HasFailure(); ++op) {
      tuttiEpHandle_t handle = nullptr;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpHandleCreate(&handle, r.group, &shape, nullptr)));
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(handle, &ids, &weights, nullptr, nullptr)));
      const RowMaps fresh(p, i, want.layouts[i], handle);
      const RowMap map = random_map(p, shared);
      const bool there = shared.one_in(2);
      const int64_t rows = there ? r.input().tokens : want.layouts[i].rows;
      const Bytes x = oracle::pack(map.dtype, normals(random, rows * map.hidden));
      const auto apply = [&](const RowMaps& maps) {
        return there ? maps.dispatch(x, map) : maps.combine(x, map);
      };
      const Bytes got = apply(lasting);
      EXPECT_EQ(got, apply(fresh)) << "operation " << op;
      EXPECT_EQ(got, apply(lasting)) << "operation " << op << ", again";
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(handle)));
    }
  });
}

void expect_same_twice(const RunRanks& run, const Problem& p, uint64_t seed) {
  const Prepared want = oracle::prepare(p);
  oracle::Random shared = shared_random(seed);
  RowMap map = random_map(p, shared);
  std::vector<Bytes> results[2];
  for (size_t round = 0; round < 2; ++round) {
    std::vector<Bytes>& result = results[round];
    result.resize(p.ranks.size());
    on_maps(run, p, want, [&](const RowMaps& maps, tuttiComm_t) {
      oracle::Random random = random_of(seed, maps.rank());
      RowMap mine = map;
      mine.registered = (seed + maps.rank() + round) % 3 == 0;
      const Bytes x = oracle::pack(map.dtype, normals(random, maps.tokens() * map.hidden));
      Bytes both = maps.dispatch(x, mine);
      const Bytes y = maps.combine(both, mine);
      both.insert(both.end(), y.begin(), y.end());
      result[maps.rank()] = both;
    });
  }
  EXPECT_EQ(results[0], results[1]);
}

namespace {

// Both operations on one routing, against the oracle.
void expect_step(const RowMaps& maps, const Problem& p, const Prepared& want,
                 const oracle::CombineCase& c, const std::vector<Bytes>& x,
                 const std::vector<Bytes>& y) {
  RowMap map;
  map.hidden = c.hidden;
  map.fill = 0xa5;
  map.weighted = c.apply;
  map.reduce = c.reduce == oracle::Reduce::kSlot ? TUTTI_EP_REDUCE_SLOT : TUTTI_EP_REDUCE_RANK;
  EXPECT_EQ(maps.combine(c.rows[maps.rank()], map), y[maps.rank()]);
  map.weighted = false;
  const size_t row_bytes = static_cast<size_t>(c.hidden) * sizeof(float);
  Bytes expected(static_cast<size_t>(maps.layout().rows) * row_bytes, map.fill);
  oracle::write_rows(want.layouts[maps.rank()], x, row_bytes, expected);
  EXPECT_EQ(maps.dispatch(x[maps.rank()], map), expected);
  EXPECT_EQ(maps.tokens(), p.ranks[maps.rank()].tokens);
}

// The first tokens of each rank: all; one or none; none; all but one or two.
std::vector<Problem> steps_of(const Problem& p) {
  std::vector<Problem> steps(4, p);
  for (size_t r = 0; r < p.ranks.size(); ++r) {
    keep_tokens(steps[1].ranks[r], static_cast<int64_t>(r % 2), p.topk);
    keep_tokens(steps[2].ranks[r], 0, p.topk);
    oracle::RankInput& last = steps[3].ranks[r];
    std::reverse(last.ids.begin(), last.ids.end());
    keep_tokens(last, std::max<int64_t>(0, last.tokens - 1 - static_cast<int64_t>(r % 2)), p.topk);
  }
  return steps;
}

struct Step {
  Problem p;
  Prepared want;
  oracle::CombineCase c;
  std::vector<Bytes> x, y;
};

Step make_step(const Problem& p, uint64_t seed) {
  Step step{p, oracle::prepare(p), {}, {}, {}};
  oracle::Random random = shared_random(seed);
  step.c.hidden = 1 + random.below(40);
  step.c.reduce = seed % 2 == 0 ? oracle::Reduce::kSlot : oracle::Reduce::kRank;
  step.c.apply = p.has_expert_rows();
  for (size_t r = 0; r < p.ranks.size(); ++r) {
    step.x.push_back(
        oracle::pack(tuttiFloat32, normals(random, p.ranks[r].tokens * step.c.hidden)));
    step.c.rows.push_back(
        oracle::pack(tuttiFloat32, normals(random, step.want.layouts[r].rows * step.c.hidden)));
  }
  step.y = oracle::combine(p, step.want, step.c);
  return step;
}

}  // namespace

void expect_nothing_stale(const RunRanks& run, const Problem& p, uint64_t seed) {
  std::vector<Step> steps;
  for (const Problem& step : steps_of(p)) steps.push_back(make_step(step, seed));
  run(p.nranks(), [&](int rank, tuttiComm_t comm) {
    const auto i = static_cast<size_t>(rank);
    const EpRank r(comm, p);
    for (size_t n = 0; n < 2 * steps.size() && !testing::Test::HasFailure(); ++n) {
      const Step& step = steps[n % steps.size()];
      SCOPED_TRACE("rank " + std::to_string(rank) + ", step " + std::to_string(n));
      const oracle::RankInput& input = step.p.ranks[i];
      const tuttiEpTensor_t ids = ep_tensor(input.ids, {input.tokens, p.topk});
      const tuttiEpTensor_t weights = ep_tensor(input.weights, {input.tokens, p.topk});
      ASSERT_TRUE(
          returns(tuttiSuccess, tuttiEpPrepare(r.handle, &ids, &weights, nullptr, nullptr)));
      const tuttiEpHandleInfo_t info = r.info();
      EXPECT_EQ(info.num_tokens, input.tokens);
      EXPECT_EQ(info.recv_rows, step.want.layouts[i].rows);
      EXPECT_EQ(info.dropped, step.want.routing.dropped[i]);
      expect_step(RowMaps(step.p, i, step.want.layouts[i], r.handle), step.p, step.want, step.c,
                  step.x, step.y);
    }
  });
}

namespace {

constexpr int64_t kGradientHidden = 3;

struct Loss {
  oracle::CombineCase c;   // sums of weighted rows
  std::vector<Numbers> g;  // and what each of their elements counts: dL/dy
};

Loss random_loss(const Problem& p, const Prepared& want, uint64_t seed) {
  oracle::Random random = shared_random(seed);
  Loss loss;
  loss.c.apply = true;
  loss.c.hidden = kGradientHidden;
  for (size_t r = 0; r < p.ranks.size(); ++r) {
    const int64_t rows = want.layouts[r].rows;
    loss.c.rows.push_back(oracle::pack(tuttiFloat32, normals(random, rows * kGradientHidden)));
    loss.g.push_back(normals(random, p.ranks[r].tokens * kGradientHidden));
  }
  return loss;
}

double loss_of(const Problem& p, const Prepared& want, const Loss& loss, size_t rank) {
  const oracle::Bounded y = oracle::combine_reference(p, want, loss.c)[rank];
  double sum = 0;
  for (size_t i = 0; i < y.value.size(); ++i) sum += y.value[i] * double{loss.g[rank][i]};
  return sum;
}

// Central differences; a weight of one rank changes nothing on the others.
std::vector<double> differences(Problem p, const Prepared& want, const Loss& loss, size_t rank) {
  std::vector<double> slopes;
  for (float& w : p.ranks[rank].weights) {
    const float at = w;
    const float above = at + 0.25f;
    const float below = at - 0.25f;
    w = above;
    const double high = loss_of(p, want, loss, rank);
    w = below;
    const double low = loss_of(p, want, loss, rank);
    w = at;
    slopes.push_back((high - low) / (double{above} - double{below}));
  }
  return slopes;
}

}  // namespace

void expect_weight_gradient(const RunRanks& run, const Problem& p, uint64_t seed) {
  const Prepared want = oracle::prepare(p);
  const Loss loss = random_loss(p, want, seed);
  on_maps(run, p, want, [&](const RowMaps& maps, tuttiComm_t) {
    RowMap map;
    map.hidden = kGradientHidden;
    const Numbers rows = oracle::unpack(tuttiFloat32, loss.c.rows[maps.rank()]);
    const Numbers g = oracle::unpack(
        tuttiFloat32, maps.dispatch(oracle::pack(tuttiFloat32, loss.g[maps.rank()]), map));
    Numbers dots;
    for (size_t n = 0; n < maps.layout().row.size(); ++n) {
      double sum = 0;
      for (size_t h = n * kGradientHidden; h < (n + 1) * kGradientHidden; ++h) {
        sum += double{rows[h]} * double{g[h]};
      }
      dots.push_back(static_cast<float>(sum));
    }
    const Numbers got = maps.slot_values(dots);
    const std::vector<double> expected = differences(p, want, loss, maps.rank());
    ASSERT_EQ(got.size(), expected.size());
    for (size_t a = 0; a < got.size(); ++a) EXPECT_NEAR(double{got[a]}, expected[a], 1e-5);
  });
}

}  // namespace tutti
