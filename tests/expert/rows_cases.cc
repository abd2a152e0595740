#include "tests/expert/rows_cases.h"

#include <cstring>
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/area.h"
#include "tests/expert/oracle_cases.h"

namespace tutti {

using oracle::Prepared;
using oracle::Problem;

namespace {

using Bytes = std::vector<uint8_t>;

// Rows beyond what the call may touch, and what they hold.
constexpr int64_t kSpare = 2;
constexpr uint8_t kCanary = 0xa5;

}  // namespace

Problem rows_problem(uint64_t seed) {
  Problem p = oracle::random_problem(seed, oracle::small_limits());
  if (p.layout == oracle::Layout::kExpertSlab) {
    p.slab_rows = p.nranks() * p.max_tokens * p.topk;
  }
  // Nodes of one rank, of two with a smaller one in the end, or as it came.
  if (seed % 4 < 2) p.ranks_per_node = 1 + static_cast<int>(seed % 2);
  return p;
}

Problem many_values_problem(oracle::Layout layout) {
  constexpr int64_t kTokens = 1500;
  Problem p;
  p.topk = 2;
  p.max_tokens = kTokens;
  p.num_experts = 4;
  p.layout = layout;
  p.ranks.resize(2);
  oracle::Random random{1};
  for (oracle::RankInput& rank : p.ranks) {
    rank.tokens = kTokens;
    for (int64_t i = 0; i < kTokens * p.topk; ++i) {
      rank.ids.push_back(i % 2 == 0 ? random.below(2) : 2 + random.below(2));
      rank.weights.push_back(random.normal());
    }
  }
  return p;
}

namespace {

std::vector<Bytes> random_bytes(const Problem& p, size_t row_bytes, uint64_t seed) {
  oracle::Random random{seed};
  std::vector<Bytes> x;
  for (const oracle::RankInput& rank : p.ranks) {
    x.emplace_back(static_cast<size_t>(rank.tokens) * row_bytes);
    for (uint8_t& byte : x.back()) byte = static_cast<uint8_t>(random.next());
  }
  return x;
}

// [T or N][hidden] of dtype, ordinary numbers.
Bytes random_rows(int64_t rows, int64_t hidden, tuttiDataType_t dtype, oracle::Random& random) {
  std::vector<float> values;
  for (int64_t i = 0; i < rows * hidden; ++i) values.push_back(random.normal());
  return oracle::pack(dtype, values);
}

// With some rows to spare where the layout allows it.
tuttiEpTensor_t rows_tensor(const Problem& p, int64_t local, const Area& data,
                            tuttiDataType_t dtype, int64_t rows, int64_t last) {
  return ep_rows(p, local, data.data(), dtype, rows + kSpare, last);
}

tuttiEpTensor_t values_tensor(const Problem& p, int64_t local, const std::vector<float>& data,
                              int64_t rows) {
  return ep_values(p, local, data, rows + kSpare);
}

size_t values_per_row(const Problem& p) { return p.has_expert_rows() ? 1 : p.topk; }

// Rows and sums are the same whatever the algorithm.
tuttiEpAlgo_t algo_of(uint64_t seed) {
  const tuttiEpAlgo_t algos[] = {TUTTI_EP_ALGO_AUTO, TUTTI_EP_ALGO_DIRECT, TUTTI_EP_ALGO_HIER};
  return algos[seed % std::size(algos)];
}

// One handle of each rank, prepared; `body(rank, EpRank, layout)`.
template <typename Body>
void on_prepared(const RunRanks& run, const Problem& p, const Prepared& want, tuttiEpAlgo_t algo,
                 Body body) {
  run(p.nranks(), [&](int rank, tuttiComm_t comm) {
    const auto i = static_cast<size_t>(rank);
    const EpRank r(comm, p, algo);
    ASSERT_TRUE(returns(tuttiSuccess, r.created));
    ASSERT_TRUE(returns(want.verdict[i], r.prepare()));
    SCOPED_TRACE("rank " + std::to_string(rank));
    if (want.verdict[i] == tuttiSuccess) body(i, r, want.layouts[i]);
  });
}

}  // namespace

void expect_dispatched(const RunRanks& run, const Problem& p, uint64_t seed) {
  const size_t sizes[] = {1, 6, 64, 1000, 14336};
  const size_t row_bytes = sizes[seed % 5];
  const Prepared want = oracle::prepare(p);
  const std::vector<Bytes> x = random_bytes(p, row_bytes, seed);
  std::vector<std::vector<float>> weights;
  for (const oracle::RankInput& rank : p.ranks) weights.push_back(rank.weights);
  on_prepared(run, p, want, algo_of(seed / 5),
              [&](size_t i, const EpRank& r, const oracle::RankLayout& layout) {
                const auto local = static_cast<int64_t>(layout.expert_count.size());
                const auto last = static_cast<int64_t>(row_bytes);
                Bytes expected(static_cast<size_t>(layout.rows + kSpare) * row_bytes, kCanary);
                const Area out(expected, (seed + i) % 3 == 0);
                const Area in(x[i], (seed + i) % 2 == 0);
                std::vector<float> values(
                    static_cast<size_t>(layout.rows + kSpare) * values_per_row(p), -7);
                std::vector<float> expected_values = values;
                EpDispatch op;
                op.in.x = ep_tensor(in.data(), tuttiUint8, {r.input().tokens, last});
                op.out.x = rows_tensor(p, local, out, tuttiUint8, layout.rows, last);
                if (seed % 2 == 0) {
                  op.in.weight = ep_tensor(weights[i], {r.input().tokens, p.topk});
                  op.out.row_weight = values_tensor(p, local, values, layout.rows);
                  oracle::write_row_weights(p, layout, weights, expected_values);
                }
                oracle::write_rows(layout, x, row_bytes, expected);
                for (int round = 0; round < 2; ++round) {
                  ASSERT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
                  EXPECT_TRUE(out.holds(expected));
                  EXPECT_EQ(values, expected_values);
                  if (testing::Test::HasFailure()) return;
                }
              });
}

namespace {

// Sums start at +0, so that no product is -0.
void drop_signs_of_zeros(tuttiDataType_t dtype, Bytes* rows) {
  const size_t bytes = oracle::bytes_of(dtype);
  for (size_t at = 0; at + bytes <= rows->size(); at += bytes) {
    if (oracle::load(dtype, &(*rows)[at]) == 0) oracle::store(dtype, &(*rows)[at], 0);
  }
}

}  // namespace

void expect_weighted(const RunRanks& run, const Problem& p, uint64_t seed) {
  const tuttiDataType_t types[] = {tuttiBfloat16, tuttiFloat16, tuttiFloat32};
  const int64_t widths[] = {1, 33, 3000};
  const tuttiDataType_t dtype = types[seed % 3];
  const int64_t hidden = widths[seed / 3 % 3];
  const Prepared want = oracle::prepare(p);
  oracle::Random random{seed};
  std::vector<Bytes> x;
  std::vector<std::vector<float>> weights;
  for (const oracle::RankInput& rank : p.ranks) {
    x.push_back(random_rows(rank.tokens, hidden, dtype, random));
    weights.push_back(rank.weights);
  }
  on_prepared(run, p, want, algo_of(seed / 5),
              [&](size_t i, const EpRank& r, const oracle::RankLayout& layout) {
                const auto local = static_cast<int64_t>(layout.expert_count.size());
                const size_t row_bytes = static_cast<size_t>(hidden) * oracle::bytes_of(dtype);
                Bytes expected(static_cast<size_t>(layout.rows + kSpare) * row_bytes, kCanary);
                const Area in(x[i], (seed + i) % 2 == 0);
                const Area out(expected, (seed + i) % 3 == 0);
                oracle::write_weighted_rows(p, layout, x, dtype, hidden, weights, expected);
                drop_signs_of_zeros(dtype, &expected);
                EpDispatch op;
                op.config.dir = TUTTI_EP_BWD;
                op.config.weight = TUTTI_EP_WEIGHT_APPLY;
                op.in.x = ep_tensor(in.data(), dtype, {r.input().tokens, hidden});
                op.out.x = rows_tensor(p, local, out, dtype, layout.rows, hidden);
                ASSERT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
                EXPECT_TRUE(out.holds(expected));
              });
}

void expect_quantised(const RunRanks& run, const Problem& p, uint64_t seed) {
  const tuttiDataType_t types[] = {tuttiBfloat16, tuttiFloat16, tuttiFloat32};
  const tuttiEpQuant_t quants[] = {TUTTI_EP_QUANT_FP8E4M3_B128, TUTTI_EP_QUANT_FP8E4M3_B128_POW2,
                                   TUTTI_EP_QUANT_INT8_TOKEN};
  const int64_t widths[] = {1, 100, 128, 300};
  const tuttiDataType_t dtype = types[seed / 3 % 3];
  const tuttiEpQuant_t quant = quants[seed % 3];
  const int64_t hidden = widths[seed % 4];
  const Prepared want = oracle::prepare(p);
  oracle::Random random{seed};
  std::vector<Bytes> x;
  for (const oracle::RankInput& rank : p.ranks) {
    x.push_back(random_rows(rank.tokens, hidden, dtype, random));
  }
  const auto kind = static_cast<oracle::Quant>(static_cast<int>(quant) -
                                               static_cast<int>(TUTTI_EP_QUANT_FP8E4M3_B128));
  std::vector<Bytes> q, scale;
  int64_t scales = 1;
  for (const Bytes& rows : x) {
    const oracle::Quantised made = oracle::quantise(kind, dtype, rows, hidden);
    q.push_back(made.q);
    scales = made.scales;
    const auto* const bytes = reinterpret_cast<const uint8_t*>(made.scale.data());
    scale.emplace_back(bytes, bytes + made.scale.size() * sizeof(float));
  }
  on_prepared(run, p, want, algo_of(seed / 5),
              [&](size_t i, const EpRank& r, const oracle::RankLayout& layout) {
                const auto local = static_cast<int64_t>(layout.expert_count.size());
                const auto rows = static_cast<size_t>(layout.rows + kSpare);
                Bytes expected(rows * static_cast<size_t>(hidden), kCanary);
                Bytes expected_scale(rows * static_cast<size_t>(scales) * sizeof(float), kCanary);
                const Area in(x[i], (seed + i) % 2 == 0);
                const Area out(expected, (seed + i) % 3 == 0);
                const Area out_scale(expected_scale, false);
                oracle::write_rows(layout, q, static_cast<size_t>(hidden), expected);
                oracle::write_rows(layout, scale, static_cast<size_t>(scales) * sizeof(float),
                                   expected_scale);
                EpDispatch op;
                op.config.quant = quant;
                op.in.x = ep_tensor(in.data(), dtype, {r.input().tokens, hidden});
                const tuttiDataType_t type =
                    quant == TUTTI_EP_QUANT_INT8_TOKEN ? tuttiInt8 : tuttiFloat8e4m3;
                op.out.x = rows_tensor(p, local, out, type, layout.rows, hidden);
                op.out.scale = rows_tensor(p, local, out_scale, tuttiFloat32, layout.rows, scales);
                ASSERT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
                EXPECT_TRUE(out.holds(expected));
                EXPECT_TRUE(out_scale.holds(expected_scale));
              });
}

namespace {

// Rows of what is not a token hold nothing that anybody may read: a number that spoils sums.
Bytes combine_rows(const oracle::RankLayout& layout, int64_t hidden, tuttiDataType_t dtype,
                   oracle::Random& random) {
  Bytes rows = random_rows(layout.rows, hidden, dtype, random);
  const size_t bytes = static_cast<size_t>(hidden) * oracle::bytes_of(dtype);
  for (size_t n = 0; n < layout.row.size(); ++n) {
    if (layout.row[n].fill != oracle::Fill::kToken) std::memset(&rows[n * bytes], 0xff, bytes);
  }
  return rows;
}

oracle::CombineCase random_case(const Problem& p, const Prepared& want, uint64_t seed) {
  const tuttiDataType_t types[] = {tuttiBfloat16, tuttiFloat16, tuttiFloat32};
  oracle::Random random{seed};
  oracle::CombineCase c;
  const oracle::Reduce reduces[] = {oracle::Reduce::kSlot, oracle::Reduce::kRank,
                                    oracle::Reduce::kNode};
  c.reduce = reduces[seed / 7 % 3];
  c.apply = p.has_expert_rows() && seed % 3 != 0;
  c.hidden = 1 + random.below(70);
  c.row_type = types[seed % 3];
  c.partial = seed % 5 < 2 ? types[random.below(3)] : c.row_type;
  c.out_type = types[seed / 3 % 3];
  for (const oracle::RankLayout& layout : want.layouts) {
    c.rows.push_back(combine_rows(layout, c.hidden, c.row_type, random));
  }
  for (size_t b = 0; b < seed / 2 % 3; ++b) {
    for (const oracle::RankInput& rank : p.ranks) {
      c.bias[b].push_back(random_rows(rank.tokens, c.hidden, c.out_type, random));
    }
  }
  return c;
}

EpCombine call_of(const Problem& p, const oracle::CombineCase& c, size_t rank,
                  const oracle::RankLayout& layout, const Area& rows) {
  const auto local = static_cast<int64_t>(layout.expert_count.size());
  const int64_t tokens = p.ranks[rank].tokens;
  const tuttiEpReduce_t reduces[] = {TUTTI_EP_REDUCE_SLOT, TUTTI_EP_REDUCE_RANK,
                                     TUTTI_EP_REDUCE_NODE};
  EpCombine op;
  op.config.reduce = reduces[static_cast<size_t>(c.reduce)];
  if (c.reduce == oracle::auto_reduce(p) && c.hidden % 2 == 0) {
    op.config.reduce = TUTTI_EP_REDUCE_AUTO;
  }
  op.config.weight = c.apply ? TUTTI_EP_WEIGHT_APPLY : TUTTI_EP_WEIGHT_NONE;
  op.config.partial = c.partial;
  op.in.x = rows_tensor(p, local, rows, c.row_type, layout.rows - kSpare, c.hidden);
  for (size_t b = 0; b < 2; ++b) {
    if (c.bias[b].empty()) continue;
    op.in.bias[b] = ep_tensor(c.bias[b][rank].data(), c.out_type, {tokens, c.hidden});
  }
  return op;
}

}  // namespace

void expect_combined(const RunRanks& run, const Problem& p, uint64_t seed) {
  const Prepared want = oracle::prepare(p);
  const oracle::CombineCase c = random_case(p, want, seed);
  const std::vector<Bytes> expected = oracle::combine(p, want, c);
  oracle::Random random{seed};
  std::vector<std::vector<float>> values;
  for (const oracle::RankLayout& layout : want.layouts) {
    values.emplace_back(static_cast<size_t>(layout.rows) * values_per_row(p));
    for (float& value : values.back()) value = random.normal();
  }
  const std::vector<std::vector<float>> expected_values = oracle::slot_values(p, want, values);
  on_prepared(run, p, want, algo_of(seed / 5),
              [&](size_t i, const EpRank& r, const oracle::RankLayout& layout) {
                const int64_t tokens = r.input().tokens;
                Bytes guarded = expected[i];
                guarded.resize(guarded.size() + 64, kCanary);
                const Area out(Bytes(guarded.size(), kCanary), seed % 3 == 0);
                const Area rows(c.rows[i], (seed + i) % 2 == 0);
                std::vector<float> slots(r.input().ids.size(), -7);
                EpCombine op = call_of(p, c, i, layout, rows);
                op.out.x = ep_tensor(out.data(), c.out_type, {tokens, c.hidden});
                if (seed % 4 < 2) {
                  const auto local = static_cast<int64_t>(layout.expert_count.size());
                  op.in.row_value = values_tensor(p, local, values[i], layout.rows - kSpare);
                  op.out.slot_value = ep_tensor(slots, {tokens, p.topk});
                }
                ASSERT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
                EXPECT_TRUE(out.holds(guarded));
                if (seed % 4 < 2) {
                  EXPECT_EQ(slots, expected_values[i]);
                }
              });
}

}  // namespace tutti
